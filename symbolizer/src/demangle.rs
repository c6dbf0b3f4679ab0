//! From the linker's names to those of the source language: Rust (legacy and v0) and C++.
//!
//! Pure, and bounded: names come from files that anyone can write, and a few bytes of mangled
//! name can stand for gigabytes of text.

use std::fmt::{self, Write};

use cpp_demangle::DemangleOptions;

/// The longest name that is returned, in bytes.
const MAX_NAME_BYTES: usize = 4096;

/// The longest mangled name that is looked at, in bytes.
const MAX_MANGLED_BYTES: usize = 16 * 1024;

/// Places at which the name of a function may end that are tried.
const MAX_NAME_ENDS: usize = 32;

/// The name as its source language writes it, or the name itself if it is not mangled. Without
/// Rust's hashes, without symbol versions, and cut off at 4 KiB.
pub fn demangle(linkage_name: &str) -> String {
    let mangled = without_version(linkage_name);
    if mangled.len() > MAX_MANGLED_BYTES {
        return capped(mangled);
    }
    rust(mangled)
        .or_else(|| cpp(mangled))
        .unwrap_or_else(|| capped(mangled))
}

/// The name as the linker knows it, without a symbol version and cut off at 4 KiB.
pub(crate) fn system_name(linkage_name: &str) -> String {
    capped(without_version(linkage_name))
}

fn rust(mangled: &str) -> Option<String> {
    let symbol = rustc_demangle::try_demangle(mangled).ok()?;
    let mut text = Capped::default();
    let written = write!(text, "{symbol:#}");
    text.finish(written)
}

fn cpp(mangled: &str) -> Option<String> {
    // `cpp_demangle` takes bare types too, so that a C function `i` would become `int`.
    if !mangled.trim_start_matches('_').starts_with('Z') && !mangled.starts_with("_GLOBAL_") {
        return None;
    }
    let Ok(symbol) = cpp_demangle::Symbol::new(mangled) else {
        return cpp_name(mangled);
    };
    let mut text = Capped::default();
    let written = symbol.structured_demangle(&mut text, &DemangleOptions::default());
    text.finish(written)
}

/// The name of a function whose parameters or return type `cpp_demangle` does not understand: 0.5.1
/// refuses members of types of `std` in expressions, as in libstdc++'s `operator==` for strings.
///
/// A mangled name begins with the function's name, and of names without parameters those that are
/// nested or have template arguments end in `E`.
fn cpp_name(mangled: &str) -> Option<String> {
    let ends = mangled.match_indices('E').take(MAX_NAME_ENDS);
    let mut names = ends.filter_map(|(end, _)| {
        let symbol = cpp_demangle::Symbol::new(&mangled[..=end]).ok()?;
        let mut text = Capped::default();
        let written = symbol.structured_demangle(&mut text, &DemangleOptions::default());
        text.finish(written)
    });
    names.next().filter(|name| !name.ends_with(')'))
}

/// Cuts `@VERSION` or `@@VERSION` off, which `.symtab` appends to names of shared objects. What
/// does not look like a version stays: some languages have `@` in their names.
fn without_version(name: &str) -> &str {
    let Some((base, version)) = name.split_once('@') else {
        return name;
    };
    let version = version.strip_prefix('@').unwrap_or(version);
    let is_version = !version.is_empty()
        && version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'+'));
    if is_version && !base.is_empty() {
        base
    } else {
        name
    }
}

/// As much of a name as is returned.
pub(crate) fn capped(name: &str) -> String {
    beginning(name, MAX_NAME_BYTES).to_owned()
}

/// As much of `text` as fits in `max_bytes`, in whole characters.
fn beginning(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let is_boundary = |&end: &usize| text.is_char_boundary(end);
    let end = (0..=max_bytes).rev().find(is_boundary).unwrap_or(0);
    &text[..end]
}

/// Text that refuses to grow beyond [`MAX_NAME_BYTES`], which also ends the demangler's work.
#[derive(Default)]
struct Capped {
    text: String,
    is_full: bool,
}

impl Capped {
    /// The text, unless the demangler failed for another reason than the cap.
    fn finish(self, written: fmt::Result) -> Option<String> {
        (written.is_ok() || self.is_full).then_some(self.text)
    }
}

impl Write for Capped {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let fitting = beginning(part, MAX_NAME_BYTES - self.text.len());
        self.text.push_str(fitting);
        self.is_full |= fitting.len() < part.len();
        if self.is_full {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rust's legacy names lose their hash and its escapes.
    #[test]
    fn rust_legacy() {
        assert_eq!(
            demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(
            demangle(
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE"
            ),
            "<Test + 'static as foo::Bar<Test>>::bar"
        );
    }

    /// Rust's v0 names lose their crate's disambiguator.
    #[test]
    fn rust_v0() {
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(
            demangle("_RNvNtNtCs1234_7mycrate3foo3bar3baz"),
            "mycrate::foo::bar::baz"
        );
    }

    /// C++ templates, operators and compiler clones come out as c++filt writes them.
    #[test]
    fn cpp() {
        assert_eq!(demangle("_ZN3foo3barIiEEvT_"), "void foo::bar<int>(int)");
        assert_eq!(
            demangle("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)"
        );
        assert_eq!(demangle("_ZN1AplERKS_"), "A::operator+(A const&)");
        assert!(demangle("_ZL3fooi.isra.0").starts_with("foo(int)"));
    }

    /// A function whose type cannot be read has its name all the same, without parameters.
    #[test]
    fn cpp_without_its_type() {
        for (mangled, name) in [
            (
                "_ZSteqIcEN9__gnu_cxx11__enable_ifIXsrSt9__is_charIT_E7__valueEbE6__typeERKNSt7__cxx1112basic_stringIS3_St11char_traitsIS3_ESaIS3_EEESE_",
                "std::operator==<char>",
            ),
            (
                "_ZN2v84base17PrintCheckOperandIaEENSt9enable_ifIXsrSt7is_enumIS5_E5valueEiE4typeES5_",
                "v8::base::PrintCheckOperand<signed char>",
            ),
        ] {
            assert_eq!(demangle(mangled), name);
        }
    }

    /// Names that are not mangled, or only begin so, are returned as they are.
    #[test]
    fn not_mangled() {
        for name in [
            "main",
            "i",
            "v",
            "",
            "_",
            "_Z",
            "_R",
            "_ZN",
            "_ZNe\u{301}",
            "ZZZ",
            "\u{7f}_Z\0",
        ] {
            assert_eq!(demangle(name), name);
        }
    }

    /// Symbol versions go, other uses of `@` stay.
    #[test]
    fn versions() {
        assert_eq!(demangle("memcpy@@GLIBC_2.14"), "memcpy");
        assert_eq!(system_name("memcpy@GLIBC_2.2.5"), "memcpy");
        assert_eq!(demangle("_ZN1AplERKS_@@ABI_1"), "A::operator+(A const&)");
        for name in ["@", "a@", "@@V", "a@@", "a@/b", "-[A b@c:d]"] {
            assert_eq!(system_name(name), name);
        }
    }

    /// A short name that stands for a very long text is cut off, at a character's boundary.
    #[test]
    fn long_names_are_capped() {
        // `S_` is `std::pair`, `S0_` its first use, and each parameter is a pair of the one before.
        let mut bomb = String::from("_Z1fSt4pairIiiE");
        for last in "0123456789ABCDEFGHIJKLMNOP".chars() {
            bomb.push_str(&format!("S_IS{last}_S{last}_E"));
        }
        assert_eq!(demangle(&bomb).len(), MAX_NAME_BYTES);
        assert_eq!(demangle(&"é".repeat(3000)).len(), MAX_NAME_BYTES);
        assert_eq!(
            system_name(&format!("a{}", "é".repeat(3000))).len(),
            MAX_NAME_BYTES - 1
        );
        assert_eq!(demangle(&"x".repeat(1 << 20)).len(), MAX_NAME_BYTES);
    }

    /// Ten thousand changed names are answered within the cap.
    #[test]
    fn changed_names() {
        let seeds = [
            "_ZNSt6vectorIiSaIiEE9push_backERKi",
            "_RNvNtNtCs1234_7mycrate3foo3bar3baz",
            "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..10_000 {
            let mut name = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..2 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = 2 + (state >> 32) as usize % (name.len() - 2);
                name[at] = b"SNITEJ_0159avK"[state as usize % 14];
            }
            let name = String::from_utf8(name).unwrap();
            assert!(demangle(&name).len() <= MAX_NAME_BYTES);
        }
    }
}
