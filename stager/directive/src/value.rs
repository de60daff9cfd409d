//! Names, sizes and durations as users write them.

use crate::error::{Code, ValueError};
use crate::grammar::MAX_NAME_BYTES;

/// Largest capacity, in bytes: the largest offset a file can have.
pub const MAX_CAPACITY_BYTES: u64 = i64::MAX as u64;
/// Longest duration, in seconds: ten years of 365 days.
pub const MAX_DURATION_S: u64 = 10 * 365 * 86_400;

/// Units of sizes as Slurm reads them, in lower case, with their bytes: a bare letter is a power of 1024.
pub const UNITS: &[(&str, u64)] = &[
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("p", 1 << 50),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
];

/// Units of durations, with their seconds.
pub const DURATION_UNITS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

const SIZE_REMEDY: &str = "write a number and one of K M G T P (powers of 1024, as KiB) or KB MB GB TB PB, as in 20GiB";
const CAPACITY_REMEDY: &str =
    "write an integer and one of K M G T P (powers of 1024, as KiB) or KB MB GB TB PB, as in 20GiB";
const DURATION_REMEDY: &str = "write an integer and one of s m h d, as in 30m or 72h, at most 3650d";

fn bad(text: String, remedy: &str) -> ValueError {
    ValueError::new(Code::Value, text, remedy)
}

fn unit_of(suffix: &str) -> Option<u64> {
    UNITS.iter().find(|(unit, _)| suffix.eq_ignore_ascii_case(unit)).map(|(_, bytes)| *bytes)
}

/// Splits leading characters of `set` from the rest.
fn split_leading(text: &str, set: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !set(c)).unwrap_or(text.len()))
}

/// Bytes of a capacity: an integer and a unit, because Slurm itself reads it and knows no decimals.
pub fn parse_capacity(text: &str) -> Result<u64, ValueError> {
    let (digits, suffix) = split_leading(text, |c| c.is_ascii_digit());
    let unit = unit_of(suffix);
    let (false, Some(unit)) = (digits.is_empty(), unit) else {
        return Err(bad(format!("'{text}' is not a capacity"), CAPACITY_REMEDY));
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n <= MAX_CAPACITY_BYTES);
    match bytes {
        Some(0) => Err(bad(format!("capacity '{text}' is nothing"), "ask for at least 1K, or leave capacity= out")),
        Some(bytes) => Ok(bytes),
        None => Err(bad(format!("capacity '{text}' is more than 8 EiB"), CAPACITY_REMEDY)),
    }
}

/// Bytes of a size: decimals and no unit (or `B`, plain bytes) are allowed; a fraction of a byte is cut off.
pub fn parse_size_bytes(text: &str) -> Result<u64, ValueError> {
    let (number, suffix) = split_leading(text, |c| c.is_ascii_digit() || c == '.');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unit = if suffix.is_empty() || suffix.eq_ignore_ascii_case("b") { Some(1) } else { unit_of(suffix) };
    let shape_ok = !whole.is_empty() && !fraction.contains('.') && !number.ends_with('.');
    let (true, Some(unit)) = (shape_ok, unit) else {
        return Err(bad(format!("'{text}' is not a size"), SIZE_REMEDY));
    };
    let overflow = || bad(format!("size '{text}' is more than 16 EiB"), SIZE_REMEDY);
    if fraction.len() > 18 {
        return Err(bad(format!("size '{text}' has more than 18 decimals"), SIZE_REMEDY));
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let parts = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().map_err(|_| overflow())? };
    let whole = u128::from(whole.parse::<u64>().map_err(|_| overflow())?);
    let bytes = whole * u128::from(unit) + parts * u128::from(unit) / scale;
    u64::try_from(bytes).map_err(|_| overflow())
}

/// Seconds of a duration.
pub fn parse_duration_s(text: &str) -> Result<u64, ValueError> {
    let (digits, suffix) = split_leading(text, |c| c.is_ascii_digit());
    let unit = DURATION_UNITS.iter().find(|(unit, _)| *unit == suffix).map(|(_, seconds)| *seconds);
    let (false, Some(unit)) = (digits.is_empty(), unit) else {
        return Err(bad(format!("'{text}' is not a duration"), DURATION_REMEDY));
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .filter(|n| *n <= MAX_DURATION_S)
        .ok_or_else(|| bad(format!("duration '{text}' is more than 3650d"), DURATION_REMEDY))
}

/// The shortest exact way to write a size with a unit; plain bytes where no unit divides it.
#[must_use]
pub fn print_size(bytes: u64) -> String {
    const PRINTED: [(&str, u64); 10] = [
        ("PiB", 1 << 50),
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("PB", 1_000_000_000_000_000),
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1_000),
    ];
    PRINTED
        .iter()
        .filter(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit))
        .map(|(name, unit)| (bytes / unit, name))
        .min()
        .map_or_else(|| format!("{bytes}B"), |(n, name)| format!("{n}{name}"))
}

/// The duration in its largest exact unit.
#[must_use]
pub fn print_duration(seconds: u64) -> String {
    for (name, unit) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds != 0 && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// Whether `name` may name a scratch, an input or a marker.
pub fn check_name(name: &str) -> Result<(), ValueError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(allowed) || name == "." || name == ".." {
        return Err(ValueError::new(
            Code::Name,
            format!("'{name}' is not a name"),
            format!("use 1 to {MAX_NAME_BYTES} letters, digits, '.', '_' and '-', and not '.' or '..'"),
        ));
    }
    Ok(())
}

/// The part of an environment variable that a name becomes: upper case, with `-` and `.` as `_`.
#[must_use]
pub fn env_name(name: &str) -> String {
    name.chars().map(|c| if matches!(c, '-' | '.') { '_' } else { c.to_ascii_uppercase() }).collect()
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
