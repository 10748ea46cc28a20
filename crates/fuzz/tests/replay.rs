//! Every target is given what `make fuzz` has kept.

use std::path::Path;

#[test]
fn what_was_found_once_is_borne_for_ever() {
    for (name, target) in fuzz::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files: Vec<_> =
            std::fs::read_dir(&dir).expect("a corpus").map(|file| file.expect("a file").path()).collect();
        assert!(files.len() >= 5, "{name} has {} files", files.len());
        for file in files {
            let bytes = std::fs::read(&file).expect("a readable file");
            let borne = std::panic::catch_unwind(|| target(&bytes));
            assert!(borne.is_ok(), "{name} does not bear {}", file.display());
        }
    }
}
