use super::*;

#[test]
fn a_seed_decides_every_byte_and_the_list_names_every_file() {
    let recipe = Recipe { seed: 7, small_files: 120, large_mib: 1 };
    let lay = || {
        let dir = tempfile::tempdir().unwrap();
        let sums = dir.path().join("sums");
        let made = recipe.lay(&dir.path().join("set"), &sums).unwrap();
        (made, fs::read_to_string(sums).unwrap())
    };
    let (made, sums) = lay();
    assert_eq!((made, sums.clone()), lay());
    assert_eq!(made.files, 121);
    assert_eq!(sums.lines().count(), 121);
    assert!(made.bytes > 1 << 20);
    for path in ["  part-00/sample-00099.bin\n", "  part-01/sample-00119.bin\n", "  large.bin\n"] {
        assert!(sums.contains(path), "{sums}");
    }
}
