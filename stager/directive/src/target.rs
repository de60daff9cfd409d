//! Where data comes from and goes to: URIs, paths in a scratch, and the `%` substitutions in both.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Code, ExpandError, ValueError};
use crate::grammar::{MAX_TARGET_BYTES, SUBSTITUTIONS};
use crate::value::check_name;

const URI_REMEDY: &str = "write s3://bucket/prefix/ or file:///absolute/path/";
const PATH_REMEDY: &str = "write the scratch's name, a colon and a relative path, as in work:results/";
const COMPONENT_REMEDY: &str = "write a path without '//', '.' and '..'";
const SUBSTITUTION_REMEDY: &str = "use %A %a %j %u %x %d, or %% for a percent sign";

/// What the substitutions stand for in one job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Substitutions {
    /// `%j`: the job's id.
    pub job: u32,
    /// `%A`: the array's job id; the job's own where it is no array task.
    pub array_job: Option<u32>,
    /// `%a`: the array task's index.
    pub array_task: Option<u32>,
    /// `%u`: the user's name.
    pub user: String,
    /// `%x`: the job's name.
    pub job_name: String,
    /// `%d`: the job's working directory, absolute.
    pub work_dir: String,
}

/// Replaces the substitutions in `template`. User and job name are refused where they would change the shape of a
/// path: a job called `../other` must not write beside its own results.
pub fn expand(template: &str, with: &Substitutions) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(template.len());
    let mut letters = template.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let component = |letter: char, value: &str| {
            let fits = !value.is_empty() && value != "." && value != ".." && !value.contains('/');
            if fits && !value.chars().any(char::is_control) {
                return Ok(value.to_owned());
            }
            Err(ExpandError::Unusable { template: template.to_owned(), letter, value: value.to_owned() })
        };
        let letter = letters.next();
        out.push_str(&match letter {
            Some('%') => "%".to_owned(),
            Some('j') => with.job.to_string(),
            Some('A') => with.array_job.unwrap_or(with.job).to_string(),
            Some('a') => with
                .array_task
                .ok_or_else(|| ExpandError::NotAnArrayTask { template: template.to_owned() })?
                .to_string(),
            Some('u') => component('u', &with.user)?,
            Some('x') => component('x', &with.job_name)?,
            Some('d') => with.work_dir.trim_end_matches('/').to_owned(),
            _ => {
                let reason = unknown_substitution(letter);
                return Err(ExpandError::Template { template: template.to_owned(), reason });
            }
        });
    }
    Ok(out)
}

fn unknown_substitution(letter: Option<char>) -> ValueError {
    let text = match letter {
        Some(letter) => format!("unknown substitution '%{letter}'"),
        None => "a single '%' at the end".to_owned(),
    };
    ValueError::new(Code::Value, text, SUBSTITUTION_REMEDY)
}

fn check_template(text: &str) -> Result<(), ValueError> {
    let mut letters = text.chars();
    while letters.by_ref().any(|c| c == '%') {
        let letter = letters.next();
        if !letter.is_some_and(|letter| letter == '%' || SUBSTITUTIONS.contains(&letter)) {
            return Err(unknown_substitution(letter));
        }
    }
    Ok(())
}

/// Checks the `/`-separated components of `path`, the last of which may be empty.
fn check_components(path: &str) -> Result<(), ValueError> {
    let body = path.strip_suffix('/').unwrap_or(path);
    for component in body.split('/') {
        if matches!(component, "" | "." | "..") {
            let text = format!("path '{path}' has the component '{component}'");
            return Err(ValueError::new(Code::Value, text, COMPONENT_REMEDY));
        }
    }
    Ok(())
}

fn check_length(text: &str) -> Result<(), ValueError> {
    if text.len() > MAX_TARGET_BYTES || text.bytes().any(|b| b.is_ascii_control()) {
        let text = format!("more than {MAX_TARGET_BYTES} bytes, or a control character, in a URI or path");
        return Err(ValueError::new(Code::Value, text, "shorten it"));
    }
    Ok(())
}

/// A place in a cold tier, substitutions replaced.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Objects of an S3 bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// Key, or prefix of keys where it ends in `/` or is empty.
        key: String,
    },
    /// Files of a directory that every storage host sees.
    File {
        /// Absolute path.
        path: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::File { path } => write!(f, "file://{path}"),
        }
    }
}

fn place(text: &str) -> Result<Place, ValueError> {
    let bad = |text: String| ValueError::new(Code::Value, text, URI_REMEDY);
    check_length(text)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.starts_with("posix:") {
            let what = "the scheme 'posix:' is not available in this release";
            return Err(ValueError::new(Code::Unsupported, what, URI_REMEDY));
        }
        return Err(bad(format!("'{text}' is not a URI")));
    };
    match scheme {
        "s3" => {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '%');
            if bucket.is_empty() || bucket.len() > 63 || !bucket.chars().all(allowed) || bucket.starts_with('.') {
                return Err(bad(format!("'{bucket}' is not a bucket name")));
            }
            if !key.is_empty() {
                check_components(key)?;
            }
            Ok(Place::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
        }
        "file" => {
            let inner = rest.strip_prefix('/').unwrap_or(rest);
            if !(rest.starts_with('/') || rest.starts_with("%d/")) || inner.is_empty() {
                return Err(bad(format!("'{text}' does not name an absolute path below '/'")));
            }
            check_components(inner)?;
            Ok(Place::File { path: rest.to_owned() })
        }
        _ => Err(ValueError::new(
            Code::Unsupported,
            format!("the scheme '{scheme}://' is not available in this release"),
            URI_REMEDY,
        )),
    }
}

/// A URI with substitutions not yet replaced.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uri(String);

impl Uri {
    /// Checks the form; whether anything is there is another question.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        check_template(text)?;
        place(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component of the path, or the bucket where there is none; what `as=` defaults to.
    #[must_use]
    pub fn last_component(&self) -> &str {
        let body = self.0.strip_suffix('/').unwrap_or(&self.0);
        body.rsplit('/').next().unwrap_or("")
    }

    /// The place it is for one job.
    pub fn resolve(&self, with: &Substitutions) -> Result<Place, ExpandError> {
        let expanded = expand(&self.0, with)?;
        place(&expanded).map_err(|reason| ExpandError::Shape { template: self.0.clone(), expanded, reason })
    }
}

impl TryFrom<String> for Uri {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text)
    }
}

impl From<Uri> for String {
    fn from(uri: Uri) -> Self {
        uri.0
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path in a scratch of the job, with substitutions not yet replaced. Written `scratch:path`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScratchPath {
    scratch: String,
    path: String,
}

impl ScratchPath {
    /// Checks the form; whether the scratch is declared is checked where all statements are known.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        check_template(text)?;
        check_length(text)?;
        let Some((scratch, path)) = text.split_once(':') else {
            return Err(ValueError::new(Code::Value, format!("'{text}' names no scratch"), PATH_REMEDY));
        };
        check_name(scratch)?;
        if path.starts_with('/') {
            return Err(ValueError::new(Code::Value, format!("'{text}' is not relative"), PATH_REMEDY));
        }
        if !path.is_empty() {
            check_components(path)?;
        }
        Ok(Self { scratch: scratch.to_owned(), path: path.to_owned() })
    }

    /// Name of the scratch.
    #[must_use]
    pub fn scratch(&self) -> &str {
        &self.scratch
    }

    /// The relative path as written; empty means the whole scratch.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The relative path for one job.
    pub fn resolve(&self, with: &Substitutions) -> Result<String, ExpandError> {
        let expanded = expand(&self.path, with)?;
        let checked = check_length(&expanded).and_then(|()| match expanded.is_empty() {
            true => Ok(()),
            false => check_components(&expanded),
        });
        match checked {
            Ok(()) => Ok(expanded),
            Err(reason) => Err(ExpandError::Shape { template: self.path.clone(), expanded, reason }),
        }
    }
}

impl TryFrom<String> for ScratchPath {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text)
    }
}

impl From<ScratchPath> for String {
    fn from(path: ScratchPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for ScratchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scratch, self.path)
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
