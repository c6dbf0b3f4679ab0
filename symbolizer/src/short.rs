//! Names without template and generic arguments, parameters and return types.
//!
//! Works on the text that demanglers write, for C++ and Rust alike:
//!
//! ```text
//! std::vector<int, std::allocator<int> >::push_back(int const&)  →  std::vector<…>::push_back
//! <alloc::vec::Vec<u8> as core::ops::drop::Drop>::drop           →  <alloc::vec::Vec<…> as core::ops::drop::Drop>::drop
//! ```
//!
//! Does not know whether a name was mangled: to shorten another, such as a JavaScript function's,
//! is wrong. What it does not understand it leaves alone.

/// Nested qualified paths that are looked into.
const MAX_DEPTH: usize = 16;

/// What stands for arguments.
const ARGUMENTS: &str = "<…>";

/// What demanglers write before the name that something belongs to.
const PREFIXES: &[&str] = &[
    "vtable for ",
    "VTT for ",
    "typeinfo for ",
    "typeinfo name for ",
    "guard variable for ",
    "non-virtual thunk to ",
    "virtual thunk to ",
    "covariant return thunk to ",
    "TLS init function for ",
    "TLS wrapper function for ",
    "transaction clone for ",
    "initializer for module ",
];

/// Operators whose signs would be taken for brackets, the longer ones first.
const OPERATORS: &[&str] = &[
    "()", "[]", "->*", "->", "<=>", "<<=", ">>=", "<<", ">>", "<=", ">=", "<", ">",
];

/// What may stand between parameters and the end of a name or a name inside.
const QUALIFIERS: &[&str] = &[" const", " volatile", " &&", " &", " noexcept"];

/// A demangled name, shortened.
#[must_use]
pub fn short_name(name: &str) -> String {
    if let Some(prefix) = PREFIXES.iter().find(|&&prefix| name.starts_with(prefix)) {
        let (prefix, rest) = name.split_at(prefix.len());
        return format!("{prefix}{}", short_name_of(rest));
    }
    short_name_of(name)
}

fn short_name_of(name: &str) -> String {
    // Whatever was not closed was no bracket, and then nothing is certain.
    Shortener::new(name, 0)
        .finish()
        .unwrap_or_else(|| name.to_owned())
}

struct Shortener<'n> {
    rest: &'n str,
    /// The byte before `rest`.
    before: Option<u8>,
    short: String,
    /// Where the name begins, after a return type.
    start: usize,
    /// Whether a type follows `operator`, in which blanks do not end a return type.
    is_conversion: bool,
    /// Whether what stands here is a type with parentheses.
    is_type: bool,
    has_parameters: bool,
    depth: usize,
}

impl<'n> Shortener<'n> {
    fn new(rest: &'n str, depth: usize) -> Self {
        Self {
            rest,
            before: None,
            short: String::with_capacity(rest.len()),
            start: 0,
            is_conversion: false,
            is_type: false,
            has_parameters: false,
            depth,
        }
    }

    fn finish(mut self) -> Option<String> {
        while !self.rest.is_empty() {
            self.step()?;
        }
        // Only functions with parameters have a return type before them.
        let start = if self.has_parameters { self.start } else { 0 };
        Some(self.short.split_off(start))
    }

    fn step(&mut self) -> Option<()> {
        if self.is_operator() {
            return self.operator();
        }
        match self.rest.as_bytes()[0] {
            b'<' => self.angle(),
            b'(' => self.parenthesis(),
            b'{' => self.brace(),
            b'[' => {
                self.keep(group_end(self.rest)?);
                Some(())
            }
            b' ' => {
                self.blank();
                Some(())
            }
            _ => {
                self.keep(self.plain());
                Some(())
            }
        }
    }

    /// Ends a return type, or what follows the parameters.
    fn blank(&mut self) {
        if self.has_parameters {
            return self.skip(self.rest.len());
        }
        self.keep(1);
        self.is_type = false;
        if self.depth == 0 && !self.is_conversion {
            self.start = self.short.len();
        }
    }

    /// How many bytes follow that are of no interest, at least one character.
    fn plain(&self) -> usize {
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let after = &self.rest[first..];
        let next = after.find(['<', '(', '{', '[', ' ', 'o']);
        first + next.unwrap_or(after.len())
    }

    /// Takes the next bytes over as they are.
    fn keep(&mut self, bytes: usize) {
        self.short.push_str(&self.rest[..bytes]);
        self.skip(bytes);
    }

    fn skip(&mut self, bytes: usize) {
        self.before = bytes.checked_sub(1).map(|last| self.rest.as_bytes()[last]);
        self.rest = &self.rest[bytes..];
    }

    fn is_operator(&self) -> bool {
        let follows_word = self.before.is_some_and(is_word);
        let Some(after) = self.rest.strip_prefix("operator") else {
            return false;
        };
        !follows_word && !after.bytes().next().is_none_or(is_word)
    }

    fn operator(&mut self) -> Option<()> {
        self.keep("operator".len());
        let mut signs = OPERATORS.iter();
        match signs.find(|&&signs| self.rest.starts_with(signs)) {
            Some(signs) => {
                self.keep(signs.len());
                // `operator<< <char>`: the blank tells the sign from the arguments.
                if self.rest.starts_with(" <") {
                    self.keep(1);
                    self.arguments(group_end(self.rest)?);
                }
            }
            None => self.is_conversion = self.rest.starts_with([' ', '"']),
        }
        Some(())
    }

    fn arguments(&mut self, end: usize) {
        self.short.push_str(ARGUMENTS);
        self.skip(end);
    }

    /// A qualified path of Rust, or arguments.
    fn angle(&mut self) -> Option<()> {
        let end = group_end(self.rest)?;
        let inner = &self.rest[1..end - 1];
        let is_path = match self.before {
            None | Some(b' ' | b'&' | b'*' | b'(' | b',' | b'<' | b'[') => true,
            Some(b':') => inner.starts_with("impl "),
            Some(_) => false,
        };
        if is_path {
            self.inner('<', inner, '>')?;
            self.skip(end);
        } else {
            self.arguments(end);
        }
        Some(())
    }

    /// Parameters, a name in parentheses, or a tuple.
    fn parenthesis(&mut self) -> Option<()> {
        let end = group_end(self.rest)?;
        let group = &self.rest[..end];
        let inner = &group[1..end - 1];
        let is_name = group == "(anonymous namespace)" || inner.starts_with('\'');
        if is_name {
            self.keep(end);
        } else if self.depth > 0 {
            self.inner('(', inner, ')')?;
            self.skip(end);
        } else if self.is_type || self.before.is_none_or(|before| before == b' ') {
            // `decltype (x) f()`, `void (*)(char) f()`: a return type.
            self.is_type = true;
            self.keep(end);
        } else {
            self.skip(end);
            self.parameters_end();
        }
        Some(())
    }

    /// Behind the parameters: nothing, the name of something inside, or what a compiler made of it.
    fn parameters_end(&mut self) {
        self.has_parameters = true;
        self.is_conversion = false;
        while let Some(qualifier) = QUALIFIERS.iter().find(|&&word| self.rest.starts_with(word)) {
            self.skip(qualifier.len());
        }
        if self.rest.starts_with(" [clone") {
            self.keep(self.rest.len());
        }
    }

    /// `{lambda(int)#1}` loses its parameters, `{closure#0}` and `{{closure}}` have none.
    fn brace(&mut self) -> Option<()> {
        let end = group_end(self.rest)?;
        let group = &self.rest[..end];
        match group.find('(') {
            Some(open) => {
                let close = open + group_end(&group[open..])?;
                self.short.push_str(&group[..open]);
                self.short.push_str(&group[close..]);
                self.skip(end);
            }
            None => self.keep(end),
        }
        Some(())
    }

    /// Shortens what stands between brackets that stay.
    fn inner(&mut self, open: char, inner: &str, close: char) -> Option<()> {
        self.short.push(open);
        if self.depth < MAX_DEPTH {
            let inner = Shortener::new(inner, self.depth + 1).finish()?;
            self.short.push_str(&inner);
        } else {
            self.short.push_str(inner);
        }
        self.short.push(close);
        Some(())
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The end of the group that `text` begins with, behind its closing bracket.
fn group_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        match byte {
            b'o' if !before.is_some_and(is_word) && text[at..].starts_with("operator") => {
                at += "operator".len();
                let signs = OPERATORS
                    .iter()
                    .find(|&&signs| text[at..].starts_with(signs));
                at += signs.map_or(0, |signs| signs.len());
                continue;
            }
            b'<' | b'(' | b'[' | b'{' => open.push(byte),
            // The arrow of `fn() -> T`, or a comparison inside parentheses.
            b'>' if before == Some(b'-') || open.last() != Some(&b'<') => {}
            b'>' => {
                open.pop();
            }
            b')' | b']' | b'}' => {
                let wanted = if byte == b')' { b'(' } else { byte - 2 };
                // A `<` in between was a comparison.
                while open.pop()? != wanted {}
            }
            _ => {}
        }
        at += 1;
        if open.is_empty() {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests;
