//! Reads Rust source as far as tidy needs it: what is code, and what is only said.
//!
//! No parser: comments and literals are cut out, and words are looked for in what remains.

/// Rust source without its comments and without what its literals contain; line feeds stay.
pub(super) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, kept) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), "")
        } else if rest.starts_with("/*") {
            (block_comment(rest), " ")
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_in_name(&code)) {
            (length, "\"\"")
        } else if first == '"' {
            (quoted_literal(rest, '"'), "\"\"")
        } else if first == '\'' && is_char_literal(rest) {
            (quoted_literal(rest, '\''), "' '")
        } else {
            (first.len_utf8(), &rest[..first.len_utf8()])
        };
        code.push_str(kept);
        if kept.len() != length {
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
        }
        rest = &rest[length..];
    }
    code
}

/// Whether `word` is in `text` with no letter, digit or underscore before it or after its last letter.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let after = &text[at + word.len()..];
        !(text[..at].ends_with(joins) || word.ends_with(joins) && after.starts_with(joins))
    })
}

fn ends_in_name(code: &str) -> bool {
    code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The length of the block comment `text` begins with: they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the raw string `text` begins with, if it does: `r"..."`, `br#"..."#`, `cr"..."`.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let body = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let closing = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + closing)
}

/// The length of the literal `text` begins with, up to the next `quote` that no backslash hides.
fn quoted_literal(text: &str, quote: char) -> usize {
    let mut hidden = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !hidden {
            return at + 1;
        }
        hidden = c == '\\' && !hidden;
    }
    text.len()
}

/// `'x'` and `'\n'`, but neither `'static` nor a label.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}
