use super::*;

#[test]
fn the_lock_table_names_the_holder() {
    let table =
        "1: POSIX  ADVISORY  READ 11 fe:00:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fe:00:99 0 EOF\n2: -> FLOCK";
    assert_eq!(holder_in(table, "99"), Some(4711));
    assert_eq!(holder_in(table, "9"), None);
}
