//! Scripts: `who verb arguments… [-> wanted…]`, one step a line.
//!
//! What is wanted is nothing (it succeeds), the name of an error, or words that are among those of the answer. A word
//! may have `\xNN` for any byte, `{a*255}` for repetitions, and `''` for nothing.

/// A step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The line, for messages.
    pub line: String,
    /// Who does it.
    pub who: String,
    /// What, and with what.
    pub words: Vec<String>,
    /// What the answer has to have.
    pub wanted: Vec<String>,
}

/// Reads a script. Panics where a line is not a step, which is a mistake in the script.
pub fn parse(script: &str) -> Vec<Step> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(step).collect()
}

fn step(line: &str) -> Step {
    let (done, wanted) = line.split_once("->").unwrap_or((line, ""));
    let words = |text: &str| text.split_whitespace().map(expand).collect::<Vec<_>>();
    let mut done = words(done);
    assert!(done.len() >= 2, "not a step: {line}");
    Step { line: line.to_owned(), who: done.remove(0), words: done, wanted: words(wanted) }
}

/// Writes repetitions out.
fn expand(word: &str) -> String {
    let Some((before, rest)) = word.split_once('{') else { return word.to_owned() };
    let repeated = rest.split_once('}').and_then(|(inner, after)| {
        let (text, times) = inner.rsplit_once('*')?;
        Some((text.repeat(times.parse().ok()?), after))
    });
    match repeated {
        Some((text, after)) => format!("{before}{text}{}", expand(after)),
        None => word.to_owned(),
    }
}

/// The bytes of a word.
pub fn bytes(word: &str) -> Vec<u8> {
    if word == "''" {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |c: &u8| (*c as char).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(high) << 4 | digit(low));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// A word for bytes: the inverse of [`bytes`].
pub fn word(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "''".to_owned();
    }
    let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
    bytes.iter().map(|&b| if plain(b) { (b as char).to_string() } else { format!("\\x{b:02x}") }).collect()
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
