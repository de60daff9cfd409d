use super::*;

#[test]
fn bars_fill_and_sizes_have_units() {
    assert_eq!(bar(0, 0), format!("[{}]   0 %", ".".repeat(30)));
    assert_eq!(bar(1, 2), format!("[{}{}]  50 %", "#".repeat(15), ".".repeat(15)));
    assert_eq!(bar(9, 3), format!("[{}] 100 %", "#".repeat(30)));
    assert_eq!(size(1000), "1000 B");
    assert_eq!(size(1536), "1.5 KiB");
    assert_eq!(size(256 << 20), "256.0 MiB");
    assert_eq!(size(u64::MAX), "16777216.0 TiB");
}
