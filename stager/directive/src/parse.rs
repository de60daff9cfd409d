//! From words to [`Directives`]: the table in [`crate::grammar`] says what may stand where, this file what it means.

use crate::choice::{Commit, Conflict, Gate, Notify, OnError, Ready, Version, When};
use crate::error::{Code, DirectiveError, ValueError};
use crate::grammar::{self, ArgumentKind, INPUT_VARIABLES, KeyKind, Later, VERBS, Verb};
use crate::scan::{Scanned, Statement, Word};
use crate::statement::{Directives, Input, Output, Scratch};
use crate::target::{ScratchPath, Uri};
use crate::value::{check_name, env_name, parse_capacity, parse_duration_s};

const LATER: &str = "is not available in this release";

impl Directives {
    /// Reads the `#FOREBAY` lines at the head of a script.
    pub fn from_script(script: &str) -> Result<Self, DirectiveError> {
        Self::from_script_and_option(script, "")
    }

    /// Reads the text of `--forebay=`.
    pub fn from_option(text: &str) -> Result<Self, DirectiveError> {
        Self::from_script_and_option("", text)
    }

    /// Reads both: the lines of the script, then the option text.
    pub fn from_script_and_option(script: &str, option: &str) -> Result<Self, DirectiveError> {
        let mut scanned = Scanned::default();
        scanned.script(script)?;
        scanned.option(option)?;
        let mut reader = Reader::default();
        for statement in &scanned.statements {
            reader.statement(statement)?;
        }
        reader.finish()
    }
}

/// One statement whose words have been checked against the table.
struct Checked<'a> {
    verb: &'static Verb,
    line: u32,
    column: u32,
    arguments: Vec<&'a Word>,
    keys: Vec<&'a Word>,
}

impl Checked<'_> {
    fn fail(&self, code: Code, text: String, remedy: impl Into<String>) -> DirectiveError {
        ValueError::new(code, text, remedy).at(self.line, self.column)
    }

    fn word(&self, key: &str) -> Option<&Word> {
        self.keys.iter().copied().find(|word| word.key.as_deref() == Some(key))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.word(key).map(|word| word.value.as_str())
    }

    /// The value of a key, read by `read`.
    fn read<T>(&self, key: &str, read: fn(&str) -> Result<T, ValueError>) -> Result<Option<T>, DirectiveError> {
        let Some(word) = self.word(key) else { return Ok(None) };
        read(&word.value).map(Some).map_err(|found| found.at(self.line, word.value_column))
    }

    /// The value of a key that is one of a few words; the table has already refused all others.
    fn choice<T: Default>(&self, key: &str, from_word: fn(&str) -> Option<T>) -> T {
        self.text(key).and_then(from_word).unwrap_or_default()
    }

    fn patterns(&self, key: &str) -> Vec<String> {
        self.text(key).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Reader {
    directives: Directives,
    /// For every output, where its statement is.
    output_places: Vec<(u32, u32)>,
    /// Keys of `opt` already said.
    options_said: Vec<&'static str>,
}

impl Reader {
    fn statement(&mut self, statement: &Statement) -> Result<(), DirectiveError> {
        let checked = check(statement)?;
        match checked.verb.name {
            "scratch" => self.scratch(&checked),
            "in" => self.input(&checked),
            "out" => self.output(&checked),
            _ => self.options(&checked),
        }
    }

    fn scratch(&mut self, said: &Checked<'_>) -> Result<(), DirectiveError> {
        let name = said.text("name").unwrap_or(Scratch::DEFAULT_NAME).to_owned();
        if let Some(other) = self.directives.scratch.iter().find(|other| env_name(&other.name) == env_name(&name)) {
            return Err(duplicate(said, "scratch", &name, &other.name, "name="));
        }
        let capacity_bytes = said.read("capacity", parse_capacity)?;
        let keep_s = said.read("keep", parse_duration_s)?;
        self.directives.scratch.push(Scratch { name, capacity_bytes, keep_s });
        Ok(())
    }

    fn input(&mut self, said: &Checked<'_>) -> Result<(), DirectiveError> {
        let source = Uri::parse(&said.arguments[0].value)
            .map_err(|found| found.at(said.line, said.arguments[0].value_column))?;
        let name = said.text("as").unwrap_or_else(|| source.last_component()).to_owned();
        if check_name(&name).is_err() {
            let text = format!("'{name}', the last part of the source, is not a name");
            return Err(said.fail(Code::Name, text, "add as=NAME"));
        }
        for other in &self.directives.inputs {
            if variables_meet(&env_name(&name), &env_name(&other.name)) {
                return Err(duplicate(said, "input", &name, &other.name, "as="));
            }
        }
        self.directives.inputs.push(Input {
            source,
            name,
            version: said.choice("version", Version::from_word),
            ready: said.choice("ready", Ready::from_word),
            include: said.patterns("include"),
            exclude: said.patterns("exclude"),
        });
        Ok(())
    }

    fn output(&mut self, said: &Checked<'_>) -> Result<(), DirectiveError> {
        let at = |word: &Word| (said.line, word.value_column);
        let (path, destination) = (said.arguments[0], said.arguments[1]);
        self.output_places.push(at(path));
        let output = Output {
            path: ScratchPath::parse(&path.value).map_err(|found| found.at(said.line, path.value_column))?,
            destination: Uri::parse(&destination.value)
                .map_err(|found| found.at(said.line, destination.value_column))?,
            when: said.choice("when", When::from_word),
            conflict: said.choice("conflict", Conflict::from_word),
            required: said.choice("required", Commit::from_word),
            marker: said.text("marker").unwrap_or(Output::DEFAULT_MARKER).to_owned(),
        };
        if self.directives.outputs.iter().any(|other| other.destination == output.destination) {
            let text = format!("two outputs go to '{}'", output.destination);
            return Err(said.fail(Code::Duplicate, text, "give each its own destination"));
        }
        self.directives.outputs.push(output);
        Ok(())
    }

    fn options(&mut self, said: &Checked<'_>) -> Result<(), DirectiveError> {
        for word in &said.keys {
            let key = word.key.as_deref().and_then(|key| said.verb.key(key)).map_or("", |key| key.name);
            if self.options_said.contains(&key) {
                let found = ValueError::new(Code::Duplicate, format!("'{key}=' is said twice"), "keep one of them");
                return Err(found.at(said.line, word.column));
            }
            self.options_said.push(key);
        }
        let options = &mut self.directives.options;
        options.gate = said.text("gate").and_then(Gate::from_word).unwrap_or(options.gate);
        options.on_error = said.text("on_error").and_then(OnError::from_word).unwrap_or(options.on_error);
        options.notify = said.text("notify").and_then(Notify::from_word).unwrap_or(options.notify);
        options.wait_s = said.read("wait", parse_duration_s)?.or(options.wait_s);
        Ok(())
    }

    /// Checks what needs all statements.
    fn finish(self) -> Result<Directives, DirectiveError> {
        let directives = self.directives;
        for (output, (line, column)) in directives.outputs.iter().zip(self.output_places) {
            let scratch = output.path.scratch();
            if !directives.scratch.iter().any(|declared| declared.name == scratch) {
                let text = format!("'{}' names a scratch that is not declared", output.path);
                let remedy = format!("add '#FOREBAY scratch name={scratch}'");
                return Err(ValueError::new(Code::Name, text, remedy).at(line, column));
            }
        }
        Ok(directives)
    }
}

/// Whether two inputs with these variable names would set one variable twice.
fn variables_meet(a: &str, b: &str) -> bool {
    let is_variable_of = |long: &str, short: &str| {
        long.strip_prefix(short)
            .and_then(|rest| rest.strip_prefix('_'))
            .is_some_and(|rest| INPUT_VARIABLES.contains(&rest))
    };
    a == b || is_variable_of(a, b) || is_variable_of(b, a)
}

fn duplicate(said: &Checked<'_>, what: &str, name: &str, other: &str, key: &str) -> DirectiveError {
    let text = match name == other {
        true => format!("two {what} statements are named '{name}'"),
        false => format!("{what} names '{name}' and '{other}' give the same environment variable"),
    };
    said.fail(Code::Duplicate, text, format!("give each its own {key}"))
}

/// Checks a statement's words against the table.
fn check(statement: &Statement) -> Result<Checked<'_>, DirectiveError> {
    let line = statement.line;
    let first = &statement.words[0];
    let verb = check_verb(first).map_err(|found| found.at(line, first.column))?;
    let mut checked = Checked { verb, line, column: first.column, arguments: Vec::new(), keys: Vec::new() };
    for word in &statement.words[1..] {
        match word.key.as_deref() {
            Some(key) => {
                check_key(verb, key, &checked).map_err(|found| found.at(line, word.column))?;
                check_value(verb, key, &word.value).map_err(|found| found.at(line, word.value_column))?;
                checked.keys.push(word);
            }
            None => {
                check_argument(verb, checked.arguments.len(), &word.value)
                    .map_err(|found| found.at(line, word.column))?;
                checked.arguments.push(word);
            }
        }
    }
    if let Some(missing) = verb.arguments.get(checked.arguments.len()) {
        let text = format!("'{}' has no {}", verb.name, missing.name);
        return Err(checked.fail(Code::Argument, text, format!("write it as in '{}'", verb.example)));
    }
    Ok(checked)
}

fn check_verb(first: &Word) -> Result<&'static Verb, ValueError> {
    let word = match &first.key {
        Some(key) => key,
        None => &first.value,
    };
    let known = grammar::verb(word).filter(|_| first.key.is_none());
    let Some(verb) = known else {
        let names = || VERBS.iter().filter(|verb| verb.supported).map(|verb| verb.name);
        let near = grammar::nearest(word, names()).map(|near| format!(", nearest is '{near}'")).unwrap_or_default();
        let remedy = format!("start with one of {}", names().collect::<Vec<_>>().join(", "));
        return Err(ValueError::new(Code::Verb, format!("unknown verb '{word}'{near}"), remedy));
    };
    if !verb.supported {
        let text = format!("'{}' {LATER}", verb.name);
        return Err(ValueError::new(Code::Unsupported, text, "stage the data with 'in' instead"));
    }
    Ok(verb)
}

fn check_key(verb: &Verb, name: &str, so_far: &Checked<'_>) -> Result<(), ValueError> {
    let names = || verb.supported_keys().collect::<Vec<_>>();
    let Some(key) = verb.key(name) else {
        let near = grammar::nearest(name, names()).map(|near| format!(", nearest is '{near}='")).unwrap_or_default();
        let text = format!("unknown key '{name}=' of '{}'{near}", verb.name);
        return Err(ValueError::new(Code::Key, text, format!("'{}' takes {}", verb.name, names().join(", "))));
    };
    if key.kind == KeyKind::Unsupported {
        let text = format!("'{name}=' of '{}' {LATER}", verb.name);
        return Err(ValueError::new(Code::Unsupported, text, format!("'{}' takes {}", verb.name, names().join(", "))));
    }
    if so_far.word(name).is_some() {
        return Err(ValueError::new(Code::Duplicate, format!("'{name}=' is said twice"), "keep one of them"));
    }
    Ok(())
}

fn check_value(verb: &Verb, name: &str, value: &str) -> Result<(), ValueError> {
    let Some(key) = verb.key(name) else { return Ok(()) };
    match key.kind {
        KeyKind::Name => check_name(value),
        KeyKind::Capacity => parse_capacity(value).map(drop),
        KeyKind::Duration => parse_duration_s(value).map(drop),
        KeyKind::Patterns if value.split(',').any(str::is_empty) => Err(ValueError::new(
            Code::Value,
            format!("'{name}=' has an empty pattern"),
            "write patterns separated by single commas, as in \"*.jpg,*.png\"",
        )),
        KeyKind::Choice { now, later } if !now.contains(&value) => {
            let known = match later {
                Later::Words(words) => words.contains(&value),
                Later::AnyOther => true,
            };
            let remedy = format!("write {}", now.join(", "));
            Err(match known {
                true => ValueError::new(Code::Unsupported, format!("'{name}={value}' {LATER}"), remedy),
                false => ValueError::new(Code::Value, format!("'{value}' is no value of '{name}='"), remedy),
            })
        }
        KeyKind::Patterns | KeyKind::Choice { .. } | KeyKind::Unsupported => Ok(()),
    }
}

fn check_argument(verb: &Verb, index: usize, value: &str) -> Result<(), ValueError> {
    let Some(argument) = verb.arguments.get(index) else {
        let near = grammar::nearest(value, verb.supported_keys());
        let text = format!("'{value}' is one word too many for '{}'", verb.name);
        let remedy = match near {
            Some(near) => format!("write {near}=..., without blanks"),
            None => format!(
                "write options as key=value, with keys {}",
                verb.supported_keys().collect::<Vec<_>>().join(", ")
            ),
        };
        return Err(ValueError::new(Code::Argument, text, remedy));
    };
    match argument.kind {
        ArgumentKind::Uri => Uri::parse(value).map(drop),
        ArgumentKind::ScratchPath => ScratchPath::parse(value).map(drop),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
