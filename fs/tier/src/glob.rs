//! Globs over relative keys.
//!
//! `?` is one character, `*` any number, neither of them a `/`; `[a-z]` and `[!a-z]` one character (not) listed; `**`
//! anything, `/` too, and `**/` any number of directories, none included. A pattern without a `/` is compared with the
//! name alone, at any depth; one with a `/` with the whole relative key; one that ends in `/` means everything below.
//! Case counts, and `%` is an ordinary character. Matching takes time proportional to pattern times key, whatever both
//! are.

use forebay_wire::tier::TierError;

/// Longest pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 1024;

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    name_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Exactly(char),
    One,
    Within,
    Anything,
    Directories,
    Class { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`TierError::Invalid`] for an empty or over-long pattern, and for a `[` that is not closed.
    pub fn parse(pattern: &str) -> Result<Self, TierError> {
        let invalid = |what: &str| TierError::Invalid { reason: format!("pattern '{pattern}' {what}") };
        if pattern.is_empty() {
            return Err(invalid("is empty"));
        }
        if pattern.len() > PATTERN_MAX_BYTES {
            return Err(invalid("is longer than 1024 bytes"));
        }
        let below = if pattern.ends_with('/') { format!("{pattern}**") } else { pattern.to_owned() };
        let name_only = !below.contains('/');
        let mut rest = below.strip_prefix('/').unwrap_or(&below).chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '?' => Token::One,
                '*' if rest.next_if_eq(&'*').is_some() => {
                    let starts_a_part = matches!(tokens.last(), None | Some(Token::Exactly('/') | Token::Directories));
                    match starts_a_part && rest.next_if_eq(&'/').is_some() {
                        true => Token::Directories,
                        false => Token::Anything,
                    }
                }
                '*' => Token::Within,
                '[' => class(&mut rest).ok_or_else(|| invalid("has a '[' that is not closed"))?,
                other => Token::Exactly(other),
            });
        }
        Ok(Self { tokens, name_only })
    }

    /// Whether a relative key matches.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let text = if self.name_only { key.rsplit('/').next().unwrap_or(key) } else { key };
        let chars: Vec<char> = text.chars().collect();
        // reached[i]: the tokens so far can match exactly the first i characters.
        let mut reached = vec![false; chars.len() + 1];
        reached[0] = true;
        for token in &self.tokens {
            reached = token.step(&chars, &reached);
        }
        reached[chars.len()]
    }
}

impl Token {
    fn step(&self, chars: &[char], reached: &[bool]) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        let mut earlier = false;
        for i in 0..reached.len() {
            let before = i.checked_sub(1).map(|at| (at, chars[at]));
            let one = |fits: &dyn Fn(char) -> bool| before.is_some_and(|(at, c)| reached[at] && fits(c));
            next[i] = match self {
                Self::Exactly(wanted) => one(&|c| c == *wanted),
                Self::One => one(&|c| c != '/'),
                Self::Class { not, ranges } => {
                    one(&|c| c != '/' && ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *not)
                }
                Self::Within => reached[i] || before.is_some_and(|(at, c)| next[at] && c != '/'),
                Self::Anything => reached[i] || earlier,
                Self::Directories => reached[i] || (earlier && before.is_some_and(|(_, c)| c == '/')),
            };
            earlier |= reached[i];
        }
        next
    }
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let not = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        // A `]` right at the start is an ordinary character.
        let from = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { not, ranges }),
            c => c,
        };
        let mut ahead = rest.clone();
        let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|c| *c != ']');
        if !is_range {
            ranges.push((from, from));
            continue;
        }
        rest.next();
        ranges.push((from, rest.next()?));
    }
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
