//! Slurm's hostlists: `n[1-3,07-09],x5` to names and back.
//!
//! Slurm gives hooks the short form and its own expander needs `scontrol`, which a hook should not run.

/// Most names one hostlist may expand to.
pub const MAX_NAMES: usize = 65_536;
/// Most digits of a number in a range; longer ones are part of a name.
const MAX_DIGITS: usize = 18;

/// A hostlist that cannot be expanded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("hostlist {list:?}, column {column}: {reason}")]
pub struct HostlistError {
    /// The list as given, cut to 200 characters.
    pub list: String,
    /// Where, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// All names of a hostlist, in its order, duplicates kept. An empty list has no names.
pub fn expand(list: &str) -> Result<Vec<String>, HostlistError> {
    let fail =
        |column: usize, reason| HostlistError { list: list.chars().take(200).collect(), column: column + 1, reason };
    let mut names = Vec::new();
    if list.is_empty() {
        return Ok(names);
    }
    let mut start = 0;
    for entry in split_outside_brackets(list).map_err(|column| fail(column, "bracket is not closed or not opened"))? {
        if entry.is_empty() {
            return Err(fail(start, "name expected"));
        }
        expand_entry(entry, &mut names).map_err(|(offset, reason)| fail(start + offset, reason))?;
        start += entry.len() + 1;
    }
    Ok(names)
}

/// Splits at commas that are not within brackets; on unbalanced brackets, where.
fn split_outside_brackets(list: &str) -> Result<Vec<&str>, usize> {
    let mut entries = Vec::new();
    let mut start = 0;
    let mut open = None;
    for (i, byte) in list.bytes().enumerate() {
        match (byte, open) {
            (b'[', None) => open = Some(i),
            (b']', Some(_)) => open = None,
            (b'[', Some(_)) | (b']', None) => return Err(i),
            (b',', None) => {
                entries.push(&list[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if let Some(i) = open {
        return Err(i);
    }
    entries.push(&list[start..]);
    Ok(entries)
}

/// Expands one entry, every bracket of it; on error, the byte offset within the entry and why.
fn expand_entry(entry: &str, names: &mut Vec<String>) -> Result<(), (usize, &'static str)> {
    let mut partial = vec![String::new()];
    let mut at = 0;
    while at < entry.len() {
        let rest = &entry[at..];
        let Some(open) = rest.find('[') else {
            partial.iter_mut().for_each(|name| name.push_str(rest));
            break;
        };
        let close = rest.find(']').ok_or((at + open, "bracket is not closed"))?;
        let values = expand_ranges(&rest[open + 1..close]).map_err(|reason| (at + open + 1, reason))?;
        if names.len() + partial.len() * values.len() > MAX_NAMES {
            return Err((at + open, "more than 65536 names"));
        }
        partial = partial
            .iter()
            .flat_map(|name| values.iter().map(move |value| format!("{name}{}{value}", &rest[..open])))
            .collect();
        at += close + 1;
    }
    if names.len() + partial.len() > MAX_NAMES {
        return Err((0, "more than 65536 names"));
    }
    names.append(&mut partial);
    Ok(())
}

/// Expands the inside of a bracket, as in `1-3,07-09`.
fn expand_ranges(ranges: &str) -> Result<Vec<String>, &'static str> {
    let mut values = Vec::new();
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(low)?, number(high)?);
        if first > last {
            return Err("range runs backwards");
        }
        if last - first >= (MAX_NAMES - values.len()) as u64 {
            return Err("more than 65536 names");
        }
        let width = low.len();
        values.extend((first..=last).map(|value| format!("{value:0width$}")));
    }
    Ok(values)
}

fn number(digits: &str) -> Result<u64, &'static str> {
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("number expected");
    }
    digits.parse().map_err(|_| "number expected")
}

/// The short form of names, in their order: neighbours that count up share a range.
#[must_use]
pub fn compress<S: AsRef<str>>(names: &[S]) -> String {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for name in names {
        let (prefix, digits) = split_suffix(name.as_ref());
        let joined = groups.last_mut().is_some_and(|group| group.prefix == prefix && group.take(digits));
        if !joined {
            groups.push(Group::new(prefix, digits));
        }
    }
    groups.iter().map(Group::text).collect::<Vec<_>>().join(",")
}

/// A name's trailing number, empty where it has none that fits.
fn split_suffix(name: &str) -> (&str, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[stem.len()..];
    if digits.len() > MAX_DIGITS { (name, "") } else { (stem, digits) }
}

/// Neighbours of one prefix: ranges of (first as written, last).
struct Group<'a> {
    prefix: &'a str,
    ranges: Vec<(&'a str, u64)>,
}

impl<'a> Group<'a> {
    fn new(prefix: &'a str, digits: &'a str) -> Self {
        let ranges = number(digits).map(|value| vec![(digits, value)]).unwrap_or_default();
        Self { prefix, ranges }
    }

    /// Adds a number when the group has numbers: to its last range where it counts on, else as a range of its own.
    fn take(&mut self, digits: &'a str) -> bool {
        let (Ok(value), Some((first, last))) = (number(digits), self.ranges.last_mut()) else {
            return false;
        };
        let width = first.len();
        if value == *last + 1 && format!("{value:0width$}") == digits {
            *last = value;
        } else {
            self.ranges.push((digits, value));
        }
        true
    }

    fn text(&self) -> String {
        let range = |(first, last): &(&str, u64)| {
            let width = first.len();
            let last = format!("{last:0width$}");
            if *first == last { last } else { format!("{first}-{last}") }
        };
        match self.ranges.as_slice() {
            [] => self.prefix.to_owned(),
            [(only, last)] if number(only) == Ok(*last) => format!("{}{only}", self.prefix),
            many => format!("{}[{}]", self.prefix, many.iter().map(range).collect::<Vec<_>>().join(",")),
        }
    }
}

#[cfg(test)]
#[path = "hostlist_tests.rs"]
mod tests;
