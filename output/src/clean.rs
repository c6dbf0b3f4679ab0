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
/// - marks that change the direction of text,
/// - characters that cannot be seen and say nothing, such as zero-width spaces and tags: by them two
///   names that look the same could differ,
/// - noncharacters; XML forbids U+FFFE and U+FFFF.
///
/// A longer name is cut and ends in `…`.
///
/// Joiners (U+200C, U+200D) and variation selectors stay, since emoji and names in Persian or Hindi need
/// them. Letters that look like others stay too: which of two scripts a name is in is not known here.
pub fn clean(name: &str) -> Cow<'_, str> {
    // Nearly all names are such, and bytes are looked at faster than characters.
    if name.len() <= MAX_CHARS && name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(name);
    }
    let short = shorten(name, MAX_CHARS);
    if short.contains(is_unsafe) {
        Cow::Owned(short.replace(is_unsafe, "\u{FFFD}"))
    } else {
        short
    }
}

/// As [`clean()`] for text of several lines, which keeps its newlines and its length: the border of a
/// terminal.
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c| c != '\n' && is_unsafe(c);
    match text.contains(is_unsafe) {
        true => Cow::Owned(text.replace(is_unsafe, "\u{FFFD}")),
        false => Cow::Borrowed(text),
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
    c.is_control() || is_separator_or_mark(c) || is_invisible(c) || is_noncharacter(c)
}

fn is_separator_or_mark(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' // line and paragraph separator
            | '\u{061C}' | '\u{200E}' | '\u{200F}' // implicit direction
            | '\u{202A}'..='\u{202E}' // embeddings and overrides
            | '\u{2066}'..='\u{2069}' // isolates
    )
}

/// Characters without a width that no script needs.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}' // soft hyphen
            | '\u{034F}' // grapheme joiner
            | '\u{180E}' // Mongolian vowel separator
            | '\u{200B}' // zero-width space
            | '\u{2060}'..='\u{2065}' // word joiner, invisible operators
            | '\u{206A}'..='\u{206F}' // deprecated format characters
            | '\u{FEFF}' // byte order mark
            | '\u{FFF9}'..='\u{FFFB}' // interlinear annotation
            | '\u{E0000}'..='\u{E007F}' // tags
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
        let unseen = "\u{AD}\u{34F}\u{180E}\u{200B}\u{2060}\u{206F}\u{FFF9}\u{E0001}\u{E007F}";
        let marks = "\u{61C}\u{200E}\u{200F}\u{202A}\u{202E}\u{2066}\u{2069}\u{FEFF}";
        let others = "\0\x07\t\n\r\x1b\x7f\u{80}\u{9b}\u{9f}\u{2028}\u{2029}\u{FDD0}\u{FFFE}\u{FFFF}\u{10FFFF}";
        for c in [unseen, marks, others].concat().chars() {
            assert_eq!(clean(&format!("a{c}b")), "a\u{FFFD}b", "{:x}", u32::from(c));
        }
    }

    #[test]
    fn lines_stay_lines() {
        // Text keeps its newlines and its length, and nothing else that a terminal would obey.
        assert_eq!(
            clean_lines("a\n\x1b[2J\r\u{9b}\n"),
            "a\n\u{FFFD}[2J\u{FFFD}\u{FFFD}\n"
        );
        let long = "x\n".repeat(MAX_CHARS);
        assert!(matches!(clean_lines(&long), Cow::Borrowed(same) if same == long));
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
