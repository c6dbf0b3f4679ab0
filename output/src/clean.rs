//! Makes names that others chose safe to write to a terminal, a text file, XML and protobuf.
//!
//! Does not know any format: a character with a meaning in one format only, such as the `;` of folded
//! stacks or the `<` of XML, is left to the encoder of that format.

use std::borrow::Cow;

/// Stands for a character that was taken out.
///
/// Rather than `?`, which C++ and Rust names may hold, the character Unicode has for this.
pub const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// The longest cleaned name, in characters.
pub const MAX_CHARS: usize = 1024;

/// `name` without control characters and at most [`MAX_CHARS`] characters long.
///
/// Each of these becomes one [`REPLACEMENT`]:
/// - C0 (tab, newline, ESC, BEL and NUL are of them), DEL and C1,
/// - line and paragraph separators,
/// - marks that change the direction of text or cannot be seen as a byte order mark,
/// - noncharacters; XML forbids U+FFFE and U+FFFF.
///
/// A longer name is cut and ends in `…`.
pub fn clean(name: &str) -> Cow<'_, str> {
    let short = shorten(name, MAX_CHARS);
    if short.contains(is_unsafe) {
        Cow::Owned(short.replace(is_unsafe, "\u{FFFD}"))
    } else {
        short
    }
}

/// `text` cut to `max_chars` characters; the last is `…` where something was cut.
pub fn shorten(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept = text.chars().take(max_chars.saturating_sub(1));
            Cow::Owned(kept.chain(['…']).collect())
        }
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || is_separator_or_mark(c) || is_noncharacter(c)
}

fn is_separator_or_mark(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' // line and paragraph separator
            | '\u{061C}' | '\u{200E}' | '\u{200F}' // implicit direction
            | '\u{202A}'..='\u{202E}' // embeddings and overrides
            | '\u{2066}'..='\u{2069}' // isolates
            | '\u{FEFF}' // byte order mark
    )
}

/// The 66 code points that Unicode keeps free for ever.
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_borrowed() {
        // A harmless name passes as it is and without a copy.
        for name in ["", "main", "<T as Foo>::bar;[u8; 8]", "größe 日本 👩‍💻"] {
            assert!(
                matches!(clean(name), Cow::Borrowed(same) if same == name),
                "{name}"
            );
        }
    }

    #[test]
    fn control_characters_are_replaced() {
        // Each character that moves a cursor, ends a line, turns text round or breaks XML is replaced once.
        let marks = "\u{61C}\u{200E}\u{200F}\u{202A}\u{202E}\u{2066}\u{2069}\u{FEFF}";
        let others = "\0\x07\t\n\r\x1b\x7f\u{80}\u{9b}\u{9f}\u{2028}\u{2029}\u{FDD0}\u{FFFE}\u{FFFF}\u{10FFFF}";
        for c in marks.chars().chain(others.chars()) {
            assert_eq!(clean(&format!("a{c}b")), "a\u{FFFD}b", "{:x}", u32::from(c));
        }
    }

    #[test]
    fn long_names_are_cut() {
        // A name of MAX_CHARS stays whole, a longer one is cut between characters and says so.
        let fits = "é".repeat(MAX_CHARS);
        assert_eq!(clean(&fits), fits.as_str());
        let cut = clean(&"é".repeat(1 << 20)).into_owned();
        assert_eq!(cut.chars().count(), MAX_CHARS);
        assert!(cut.ends_with("é…"));
    }

    #[test]
    fn cleaning_twice_changes_nothing() {
        // A cleaned name is clean.
        let once = clean(&"x\x1b[2J\n".repeat(500)).into_owned();
        assert_eq!(clean(&once), once.as_str());
    }
}
