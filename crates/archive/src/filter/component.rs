//! One component of a pattern: the wildcards of Go's `filepath.Match`, compiled once.
//!
//! `*` any run of bytes, `?` one character, `[a-z]` and `[^a-z]` classes, `\` takes the next byte literally.
//! A byte that is no UTF-8 counts as one character, U+FFFD.

/// A compiled component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Component {
    /// No wildcard at all: compared as bytes.
    Literal(Vec<u8>),
    /// With wildcards.
    Wild(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Any run of bytes, also none.
    Star,
    /// One character.
    Any,
    /// One byte.
    Byte(u8),
    /// One character within (or outside) these ranges.
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The syntax is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadSyntax;

impl Component {
    pub(super) fn compile(text: &[u8]) -> Result<Self, BadSyntax> {
        if !text.iter().any(|byte| b"\\[]*?".contains(byte)) {
            return Ok(Self::Literal(text.to_vec()));
        }
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'*' => {
                    if tokens.last() != Some(&Token::Star) {
                        tokens.push(Token::Star);
                    }
                }
                b'?' => tokens.push(Token::Any),
                b'[' => tokens.push(class(&mut rest)?),
                b'\\' => {
                    let (escaped, after) = rest.split_first().ok_or(BadSyntax)?;
                    tokens.push(Token::Byte(*escaped));
                    rest = after;
                }
                byte => tokens.push(Token::Byte(*byte)),
            }
        }
        Ok(Self::Wild(tokens))
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(text) => text == name,
            Self::Wild(tokens) => tokens_match(tokens, name),
        }
    }
}

/// A class, after its `[`.
fn class(rest: &mut &[u8]) -> Result<Token, BadSyntax> {
    let is_negated = rest.first() == Some(&b'^');
    if is_negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.first() == Some(&b']') {
            *rest = &rest[1..];
            return Ok(Token::Class { is_negated, ranges });
        }
        let low = class_character(rest)?;
        let mut high = low;
        if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            high = class_character(rest)?;
        }
        ranges.push((low, high));
    }
}

/// One character of a class. The class has to go on after it.
fn class_character(rest: &mut &[u8]) -> Result<char, BadSyntax> {
    if rest.first() == Some(&b'\\') {
        *rest = &rest[1..];
    } else if matches!(rest.first(), Some(b'-' | b']')) {
        return Err(BadSyntax);
    }
    let (character, length) = first_character(rest).ok_or(BadSyntax)?;
    let is_broken = character == char::REPLACEMENT_CHARACTER && length == 1;
    *rest = &rest[length..];
    if is_broken || rest.is_empty() {
        Err(BadSyntax)
    } else {
        Ok(character)
    }
}

/// Greedy with one point to return to: the last star seen.
fn tokens_match(tokens: &[Token], name: &[u8]) -> bool {
    // The root marker is no name: only the literal `/` matches it.
    if name == b"/" {
        return false;
    }
    let (mut token, mut position) = (0, 0);
    let mut star = None;
    loop {
        if token == tokens.len() && position == name.len() {
            return true;
        }
        let step = match tokens.get(token) {
            Some(Token::Star) => {
                star = Some((token, position));
                token += 1;
                continue;
            }
            Some(single) => single_match(single, &name[position..]),
            None => None,
        };
        if let Some(length) = step {
            token += 1;
            position += length;
        } else if let Some((star_token, star_position)) =
            star.filter(|(_, from)| *from < name.len())
        {
            star = Some((star_token, star_position + 1));
            token = star_token + 1;
            position = star_position + 1;
        } else {
            return false;
        }
    }
}

/// How many bytes the token takes from the front of `name`, if it fits.
fn single_match(token: &Token, name: &[u8]) -> Option<usize> {
    let (character, length) = first_character(name)?;
    match token {
        Token::Byte(byte) => (name[0] == *byte).then_some(1),
        Token::Any => Some(length),
        Token::Class { is_negated, ranges } => {
            let is_within = ranges
                .iter()
                .any(|(low, high)| *low <= character && character <= *high);
            (is_within != *is_negated).then_some(length)
        }
        Token::Star => None,
    }
}

/// The first character and its length; a byte that begins no valid sequence is U+FFFD of length 1.
fn first_character(text: &[u8]) -> Option<(char, usize)> {
    let first = *text.first()?;
    if first < 0x80 {
        return Some((char::from(first), 1));
    }
    let character = (2..=text.len().min(4)).find_map(|length| {
        let decoded = std::str::from_utf8(&text[..length]).ok()?;
        decoded.chars().next().map(|character| (character, length))
    });
    Some(character.unwrap_or((char::REPLACEMENT_CHARACTER, 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> Result<bool, BadSyntax> {
        Component::compile(pattern.as_bytes()).map(|component| component.matches(name.as_bytes()))
    }

    #[test]
    fn wildcards_match_as_in_go() {
        let cases = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            ("a]b", "a]b", true),
            ("[*]", "*", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches(pattern, name),
                Ok(expected),
                "{pattern:?} on {name:?}"
            );
        }
    }

    #[test]
    fn wrong_syntax_is_refused() {
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "*[a", "[a\\",
        ] {
            assert_eq!(matches(pattern, "a"), Err(BadSyntax), "{pattern:?}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_counts_as_one_character() {
        assert!(Component::compile(b"a?b").is_ok_and(|component| component.matches(b"a\xffb")));
        assert!(
            Component::compile(b"a??b").is_ok_and(|component| component.matches(b"a\xff\xfeb"))
        );
    }

    proptest! {
        #[test]
        fn an_escaped_name_matches_itself_only(name in "[a-c*?\\[\\]\\\\]{1,8}", other in "[a-c*?\\[\\]\\\\]{1,8}") {
            let escaped: String = name.chars().flat_map(|character| ['\\', character]).collect();
            prop_assert_eq!(matches(&escaped, &name), Ok(true));
            prop_assert_eq!(matches(&escaped, &other), Ok(name == other));
        }

        #[test]
        fn a_star_between_matches_whatever_is_between(start in "[a-c]{0,4}", middle in "[a-c]{0,6}", end in "[a-c]{0,4}") {
            prop_assert_eq!(matches(&format!("{start}*{end}"), &format!("{start}{middle}{end}")), Ok(true));
        }
    }
}
