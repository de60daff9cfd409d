//! Why directives are refused.

use std::fmt;

/// Stable code of a refusal; documented, matched by scripts, never renamed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Code {
    /// The text is not of the form `verb argument key=value`.
    #[serde(rename = "E-DIR-SYNTAX")]
    Syntax,
    /// No such verb.
    #[serde(rename = "E-DIR-VERB")]
    Verb,
    /// The verb has no such key.
    #[serde(rename = "E-DIR-KEY")]
    Key,
    /// A value is not what its key takes.
    #[serde(rename = "E-DIR-VALUE")]
    Value,
    /// A name is not usable, or names nothing.
    #[serde(rename = "E-DIR-NAME")]
    Name,
    /// A shell variable where only `%` substitutions work.
    #[serde(rename = "E-DIR-VAR")]
    Variable,
    /// An argument is missing or one too many.
    #[serde(rename = "E-DIR-ARGUMENT")]
    Argument,
    /// The same thing is said twice.
    #[serde(rename = "E-DIR-DUPLICATE")]
    Duplicate,
    /// Known to the design, not available in this release.
    #[serde(rename = "E-DIR-UNSUPPORTED")]
    Unsupported,
    /// More text or statements than are read.
    #[serde(rename = "E-DIR-LIMIT")]
    Limit,
}

impl Code {
    /// The code as users see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "E-DIR-SYNTAX",
            Self::Verb => "E-DIR-VERB",
            Self::Key => "E-DIR-KEY",
            Self::Value => "E-DIR-VALUE",
            Self::Name => "E-DIR-NAME",
            Self::Variable => "E-DIR-VAR",
            Self::Argument => "E-DIR-ARGUMENT",
            Self::Duplicate => "E-DIR-DUPLICATE",
            Self::Unsupported => "E-DIR-UNSUPPORTED",
            Self::Limit => "E-DIR-LIMIT",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with one value, before it is known where the value stands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}; {remedy} ({code})")]
pub struct ValueError {
    /// What kind of wrong.
    pub code: Code,
    /// What is wrong, naming the thing.
    pub text: String,
    /// What to write instead.
    pub remedy: String,
}

impl ValueError {
    pub(crate) fn new(code: Code, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, text: text.into(), remedy: remedy.into() }
    }

    pub(crate) fn at(self, line: u32, column: u32) -> DirectiveError {
        DirectiveError { code: self.code, line, column, text: self.text, remedy: self.remedy }
    }
}

/// Why a script or an option text is refused: the first thing that is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{}column {column}: {text}; {remedy} ({code})", Where(*line))]
pub struct DirectiveError {
    /// What kind of wrong.
    pub code: Code,
    /// Line of the script, from 1; 0 in option text.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong, naming the thing and the nearest known word.
    pub text: String,
    /// What to write instead.
    pub remedy: String,
}

struct Where(u32);

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("--forebay: "),
            line => write!(f, "line {line}, "),
        }
    }
}

/// Why a `%` substitution gives nothing usable for this job.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExpandError {
    /// `%a` in a job that is no array task.
    #[error("'{template}' uses %a, but the job is not an array task; submit with --array or use %j")]
    NotAnArrayTask {
        /// The text being expanded.
        template: String,
    },
    /// A job name, user or directory that would change the shape of the path.
    #[error("'{template}': %{letter} is '{value}', which cannot be part of a path here; use %j instead")]
    Unusable {
        /// The text being expanded.
        template: String,
        /// Which substitution.
        letter: char,
        /// What it stands for in this job.
        value: String,
    },
    /// A substitution that does not exist.
    #[error("'{template}': {reason}")]
    Template {
        /// The text being expanded.
        template: String,
        /// What is wrong with it.
        reason: ValueError,
    },
    /// The expanded text is no valid target.
    #[error("'{template}' becomes '{expanded}', and {reason}")]
    Shape {
        /// The text being expanded.
        template: String,
        /// What it became.
        expanded: String,
        /// What is wrong with that.
        reason: ValueError,
    },
}
