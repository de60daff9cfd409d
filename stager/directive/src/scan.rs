//! From text to words: finds directive lines at the head of a script, cuts statements into words.
//!
//! Columns count characters from 1, from the start of the line (or of the option text).

use crate::error::{Code, DirectiveError, ValueError};
use crate::grammar::{MAGIC, MAX_HEAD_BYTES, MAX_STATEMENTS, MAX_TEXT_BYTES};

const QUOTE_REMEDY: &str = "put the whole value into double quotes";
const VARIABLE_REMEDY: &str =
    "variables are not expanded here: use %j (job id), %A %a (array), %u (user), %x (job name) or %d (directory)";

/// One word of a statement.
#[derive(Debug)]
pub(crate) struct Word {
    /// Where it starts.
    pub column: u32,
    /// The word before `=`, if there is one.
    pub key: Option<String>,
    /// The rest, quotes removed.
    pub value: String,
    /// Where the value starts, its quote included.
    pub value_column: u32,
}

/// One statement: at least one word.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Line it is on; 0 in option text.
    pub line: u32,
    /// Its words.
    pub words: Vec<Word>,
}

/// Statements found so far, and how much text they took.
#[derive(Default, Debug)]
pub(crate) struct Scanned {
    /// The statements, in order.
    pub statements: Vec<Statement>,
    text_bytes: usize,
}

/// Column of the byte at `at`.
fn column(text: &str, at: usize) -> u32 {
    u32::try_from(text[..at].chars().count() + 1).unwrap_or(u32::MAX)
}

fn error(code: Code, text: &str, remedy: &str) -> ValueError {
    ValueError::new(code, text, remedy)
}

impl Scanned {
    /// Adds the directive lines of a script's head: comment lines up to the first line that is neither comment nor
    /// blank, as Slurm reads `#SBATCH`.
    pub fn script(&mut self, script: &str) -> Result<(), DirectiveError> {
        if !script.contains(MAGIC) {
            return Ok(());
        }
        let mut head_bytes = 0;
        for (number, line) in (1u32..).zip(script.split('\n')) {
            head_bytes += line.len() + 1;
            if head_bytes > MAX_HEAD_BYTES {
                let what = format!("more than {MAX_HEAD_BYTES} bytes of comments before the first command");
                let limit = error(Code::Limit, &what, "move the #FOREBAY lines to the top and shorten the comments");
                return Err(limit.at(number, 1));
            }
            if let Some(rest) = line.strip_prefix(MAGIC) {
                self.directive_line(number, line, rest)?;
                continue;
            }
            let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c');
            let first = line.trim_start_matches(blank);
            if !first.is_empty() && !first.starts_with('#') {
                break;
            }
        }
        Ok(())
    }

    fn directive_line(&mut self, number: u32, line: &str, rest: &str) -> Result<(), DirectiveError> {
        // `#FOREBAY_...` belongs to others, as `#FOREBAY_BB` does.
        if rest.starts_with('_') {
            return Ok(());
        }
        let before = self.statements.len();
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            let what = "no blank after #FOREBAY";
            let remedy = "write #FOREBAY, a blank and a verb";
            return Err(error(Code::Syntax, what, remedy).at(number, column(line, MAGIC.len())));
        }
        self.text(line, number, MAGIC.len())?;
        if self.statements.len() == before {
            let remedy = "write a verb after it, as in '#FOREBAY scratch capacity=2GiB', or remove the line";
            return Err(error(Code::Syntax, "an empty directive", remedy).at(number, 1));
        }
        Ok(())
    }

    /// Adds the statements of option text, separated by `;`.
    pub fn option(&mut self, text: &str) -> Result<(), DirectiveError> {
        self.text(text, 0, 0)
    }

    /// Adds the statements of `text` from byte `at` on.
    fn text(&mut self, text: &str, line: u32, at: usize) -> Result<(), DirectiveError> {
        self.text_bytes += text.len() - at;
        if self.text_bytes > MAX_TEXT_BYTES {
            let what = format!("more than {MAX_TEXT_BYTES} bytes of directives");
            return Err(error(Code::Limit, &what, "stage fewer, larger directories").at(line, 1));
        }
        if let Some(at) = text.bytes().position(|b| b.is_ascii_control() && b != b'\t') {
            let remedy = "remove it; a file with Windows line ends is mended by dos2unix";
            return Err(error(Code::Syntax, "a control character", remedy).at(line, column(text, at)));
        }
        let mut cursor = Cursor { text, at };
        let mut words = Vec::new();
        loop {
            cursor.skip_blanks();
            match cursor.peek() {
                None | Some('#') => break,
                Some(';') if line != 0 => {
                    let found = error(Code::Syntax, "a ';'", "write one statement a line, or quote the value");
                    return Err(found.at(line, column(text, cursor.at)));
                }
                Some(';') => {
                    cursor.at += 1;
                    self.push(line, std::mem::take(&mut words))?;
                }
                Some(_) => words.push(cursor.word().map_err(|(at, found)| found.at(line, column(text, at)))?),
            }
        }
        self.push(line, words)
    }

    fn push(&mut self, line: u32, words: Vec<Word>) -> Result<(), DirectiveError> {
        let Some(first) = words.first() else { return Ok(()) };
        if self.statements.len() == MAX_STATEMENTS {
            let what = format!("more than {MAX_STATEMENTS} statements");
            return Err(error(Code::Limit, &what, "stage fewer, larger directories").at(line, first.column));
        }
        self.statements.push(Statement { line, words });
        Ok(())
    }
}

/// Where in the text the scanner stands.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// An error and the byte it is at.
type Found = (usize, ValueError);

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    /// Reads one word; the cursor stands on its first character.
    fn word(&mut self) -> Result<Word, Found> {
        let start = self.at;
        let key = self.key();
        let value_start = self.at;
        let value = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.bare(key.as_deref())?,
        };
        let (column, value_column) = (column(self.text, start), column(self.text, value_start));
        Ok(Word { column, key, value, value_column })
    }

    /// Reads `key=` if that is what stands here.
    fn key(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))?;
        if !rest[end..].starts_with('=') || !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        self.at += end + 1;
        Some(rest[..end].to_owned())
    }

    fn bare(&mut self, key: Option<&str>) -> Result<String, Found> {
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | ';' => break,
                '$' => return Err((self.at, error(Code::Variable, "a '$'", VARIABLE_REMEDY))),
                '"' | '\'' | '\\' => {
                    return Err((self.at, error(Code::Syntax, &format!("a {c} inside a value"), QUOTE_REMEDY)));
                }
                _ => self.at += c.len_utf8(),
            }
        }
        if let (true, Some(key)) = (start == self.at, key) {
            let what = format!("'{key}=' has no value");
            return Err((start, error(Code::Value, &what, "write one after '=' without a blank, or remove the key")));
        }
        Ok(self.text[start..self.at].to_owned())
    }

    /// Reads to the closing quote. In double quotes `\"` and `\\` stand for the second character.
    fn quoted(&mut self, quote: char) -> Result<String, Found> {
        let start = self.at;
        let mut value = String::new();
        self.at += 1;
        loop {
            let Some(c) = self.peek() else {
                return Err((start, error(Code::Syntax, "a quote that is not closed", "add the closing quote")));
            };
            match c {
                '$' => return Err((self.at, error(Code::Variable, "a '$'", VARIABLE_REMEDY))),
                '\t' => return Err((self.at, error(Code::Syntax, "a tab in quotes", "use blanks"))),
                '\\' if quote == '"' => {
                    let next = self.text[self.at + 1..].chars().next().filter(|next| matches!(next, '"' | '\\'));
                    let Some(next) = next else {
                        return Err((self.at, error(Code::Syntax, "a lone \\ in quotes", "write \\\\")));
                    };
                    value.push(next);
                    self.at += 2;
                }
                _ => {
                    self.at += c.len_utf8();
                    if c == quote {
                        break;
                    }
                    value.push(c);
                }
            }
        }
        if !matches!(self.peek(), None | Some(' ' | '\t' | ';')) {
            return Err((self.at, error(Code::Syntax, "no blank after the closing quote", QUOTE_REMEDY)));
        }
        Ok(value)
    }
}
