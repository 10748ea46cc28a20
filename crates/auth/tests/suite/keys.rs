//! Keys in files: their rights, making them once, taking new ones up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};

use auth::keys::{self, Pair, Rotated};
use auth::{Config, Error, Rejection, Role, ServiceSigner, UserSigner, Verifier};
use tempfile::tempdir;

use crate::support::Fixture;

/// Where [`made_by_a_process_of_its_own`] makes keys.
const DIR: &str = "AUTH_TEST_KEYS";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_missing_is_made_for_the_owner_alone() {
    let dir = tempdir().unwrap();
    let root = dir.path().join("a/keys");
    let made = keys::generate(&root, &["user.rpc", "order.rpc"]).unwrap();
    assert_eq!(made.len(), 4);
    for name in ["user.rpc", "order.rpc"] {
        let Pair { kid, .. } = Pair::load(&root, name).unwrap();
        assert!(made.contains(&root.join(format!("private/{name}.pem"))));
        assert!(made.contains(&root.join(format!("public/{name}/{kid}.pem"))));
        assert_eq!(mode(&root.join(format!("private/{name}.pem"))), 0o600);
    }
    for made in ["", "private", "public", "../../a"] {
        assert_eq!(mode(&root.join(made)), 0o700, "{made:?}");
    }

    let first = Pair::load(&root, "user.rpc").unwrap().kid;
    assert!(keys::generate(&root, &["user.rpc"]).unwrap().is_empty());
    assert_eq!(keys::generate(&root, &["user.rpc", "pay.rpc"]).unwrap().len(), 2);
    assert_eq!(Pair::load(&root, "user.rpc").unwrap().kid, first);
}

#[test]
fn a_run_that_was_stopped_is_completed_by_the_next() {
    let dir = tempdir().unwrap();
    keys::generate(dir.path(), &["user.rpc"]).unwrap();
    let Pair { kid, .. } = Pair::load(dir.path(), "user.rpc").unwrap();
    let public = dir.path().join(format!("public/user.rpc/{kid}.pem"));
    fs::remove_file(&public).unwrap();
    fs::write(dir.path().join(format!("public/user.rpc/{kid}.new")), "half").unwrap();
    assert_eq!(keys::generate(dir.path(), &["user.rpc"]).unwrap(), [public]);
    Verifier::load(&Config { keys: dir.path().to_owned(), ..Config::default() }, "user.rpc").unwrap();
}

#[test]
#[ignore = "a part of several_processes_at_once_make_one_key"]
fn made_by_a_process_of_its_own() {
    if let Some(dir) = std::env::var_os(DIR) {
        keys::generate(Path::new(&dir), &["user.rpc", "order.rpc", "product.rpc"]).unwrap();
    }
}

#[test]
fn several_processes_at_once_make_one_key() {
    let dir = tempdir().unwrap();
    let keys = dir.path().join("keys");
    let start = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["keys::made_by_a_process_of_its_own", "--exact", "--ignored", "--quiet"]).env(DIR, &keys);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..6).map(start).collect();
    // While they run, no file of theirs is ever open to others.
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        for entry in fs::read_dir(keys.join("private")).into_iter().flatten().flatten() {
            // It may have been moved to its place since.
            if let Ok(metadata) = entry.metadata() {
                assert_eq!(metadata.permissions().mode() & 0o077, 0, "{entry:?}");
            }
        }
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for name in ["user.rpc", "order.rpc", "product.rpc"] {
        let public: Vec<_> = fs::read_dir(keys.join("public").join(name)).unwrap().map(|e| e.unwrap().path()).collect();
        let Pair { kid, .. } = Pair::load(&keys, name).unwrap();
        assert_eq!(public, [keys.join(format!("public/{name}/{kid}.pem"))]);
    }
    assert_eq!(fs::read_dir(keys.join("private")).unwrap().count(), 3);
}

#[test]
fn a_private_key_that_others_may_touch_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("private/user.rpc.pem");
    // 0440 is a Secret volume of Kubernetes under an fsGroup.
    for (mode, good) in [(0o600, true), (0o400, true), (0o440, true), (0o640, true), (0o644, false), (0o602, false)] {
        set_mode(&path, mode);
        match UserSigner::load(&fixture.config) {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(error) => {
                assert!(!good && matches!(error, Error::OpenToOthers { .. }), "{mode:o}: {error}");
                let text = error.to_string();
                assert!(text.contains("chmod 600") && text.contains("defaultMode: 0440"), "{text}");
            }
        }
    }
}

#[test]
fn what_is_missing_or_wrong_says_what_to_do() {
    let dir = tempdir().unwrap();
    let config = Config { keys: dir.path().to_owned(), ..Config::default() };
    let signer = UserSigner::load(&config).unwrap_err();
    let verifier = Verifier::load(&config, "user.rpc").unwrap_err();
    for text in [signer.to_string(), verifier.to_string()] {
        assert!(text.contains("run \"mall keys\""), "{text}");
    }
    // Keys of others do not verify users.
    keys::generate(dir.path(), &["order.rpc"]).unwrap();
    assert!(matches!(Verifier::load(&config, "user.rpc"), Err(Error::NoPublicKey(_))));
    assert!(matches!(ServiceSigner::load(&config, "pay.rpc"), Err(Error::NoPrivateKey(_))));

    keys::generate(dir.path(), &["user.rpc"]).unwrap();
    let private = dir.path().join("private/user.rpc.pem");
    let public = dir.path().join("public/user.rpc/x.pem");
    let good = fs::read_to_string(&private).unwrap();
    for text in
        ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &good.repeat(2)[1..20]]
    {
        fs::write(&private, text).unwrap();
        assert!(matches!(UserSigner::load(&config), Err(Error::NotAKey { kind: "private", .. })), "{text:?}");
        fs::write(&public, text).unwrap();
        assert!(matches!(Verifier::load(&config, "user.rpc"), Err(Error::NotAKey { kind: "public", .. })), "{text:?}");
    }
}

#[test]
fn a_name_is_neither_a_path_nor_the_users_audience() {
    let dir = tempdir().unwrap();
    let long = "a".repeat(64);
    for name in ["", ".", "..", "../x", "a/b", "A", "a b", "ä", "-a", "mall", &long] {
        assert!(matches!(keys::generate(dir.path(), &[name]), Err(Error::Name(_))), "{name:?}");
        assert!(matches!(Pair::load(dir.path(), name), Err(Error::Name(_))), "{name:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn two_keys_of_one_issuer_are_good_until_the_old_one_is_removed() {
    let fixture = Fixture::new();
    let before = fixture.users().issue(7, Role::User).value;
    let old = fixture.pair("user.rpc").kid;
    let Rotated { pair: new, replaced } = keys::rotate(fixture.dir.path(), "user.rpc").unwrap();
    assert_ne!(new.kid, old);
    assert_eq!(fixture.pair("user.rpc").kid, new.kid);
    let after = fixture.users().issue(7, Role::User).value;
    let verifier = fixture.verifier("user.rpc");
    assert!(verifier.verify(&before).is_ok() && verifier.verify(&after).is_ok());

    assert_eq!(replaced, fixture.dir.path().join(format!("public/user.rpc/{old}.pem")));
    fs::remove_file(replaced).unwrap();
    let verifier = fixture.verifier("user.rpc");
    assert_eq!(verifier.verify(&before), Err(Rejection::UnknownKey));
    assert!(verifier.verify(&after).is_ok());
}

#[test]
fn one_key_cannot_speak_for_two_services() {
    let fixture = Fixture::new();
    let kid = fixture.pair("user.rpc").kid;
    let public = fixture.dir.path().join("public");
    fs::copy(public.join(format!("user.rpc/{kid}.pem")), public.join("order.rpc/stolen.pem")).unwrap();
    let error = Verifier::load(&fixture.config, "user.rpc").unwrap_err();
    assert!(matches!(error, Error::SharedKey { .. }), "{error}");
}

#[test]
fn a_secret_as_kubernetes_mounts_it_is_read() {
    let made = Fixture::new();
    let mount = tempdir().unwrap();
    let version = mount.path().join("..2026_11_23");
    let pair = made.pair("user.rpc");
    fs::create_dir_all(version.join("private")).unwrap();
    fs::create_dir_all(version.join("public/user.rpc")).unwrap();
    let private = version.join("private/user.rpc.pem");
    fs::write(&private, pair.private.expose_secret()).unwrap();
    set_mode(&private, 0o440);
    fs::write(version.join("public/user.rpc/any-name.pem"), &pair.public).unwrap();
    std::os::unix::fs::symlink("..2026_11_23", mount.path().join("..data")).unwrap();
    for name in ["private", "public"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), mount.path().join(name)).unwrap();
    }
    let config = Config { keys: mount.path().to_owned(), ..Config::default() };
    let token = UserSigner::load(&config).unwrap().issue(7, Role::User).value;
    assert!(Verifier::load(&config, "order.rpc").unwrap().verify(&token).is_ok());
}

#[test]
fn each_secret_as_a_volume_of_its_own_is_read() {
    let made = Fixture::new();
    auth::callback::generate(made.dir.path(), "sandbox").unwrap();
    let keys = tempdir().unwrap();
    // A volume is a directory whose files are links to the version at hand.
    let mount = |place: &str, files: &[(&str, &str)]| {
        let place = keys.path().join(place);
        let version = place.join("..2026_11_24_10_00_00.1");
        fs::create_dir_all(&version).unwrap();
        std::os::unix::fs::symlink("..2026_11_24_10_00_00.1", place.join("..data")).unwrap();
        for (name, text) in files {
            fs::write(version.join(name), text).unwrap();
            set_mode(&version.join(name), 0o440);
            std::os::unix::fs::symlink(format!("..data/{name}"), place.join(name)).unwrap();
        }
    };
    let (user, order) = (made.pair("user.rpc"), made.pair("order.rpc"));
    let secret = auth::callback::read(made.dir.path(), "sandbox").unwrap();
    mount("private", &[("user.rpc.pem", user.private.expose_secret()), ("sandbox.secret", secret.expose_secret())]);
    for pair in [&user, &order] {
        mount(&format!("public/{}", pair.name), &[(&format!("{}.pem", pair.kid), &pair.public)]);
    }
    let config = Config { keys: keys.path().to_owned(), ..Config::default() };
    let token = UserSigner::load(&config).unwrap().issue(7, Role::User).value;
    assert!(Verifier::load(&config, "user.rpc").unwrap().verify(&token).is_ok());
    auth::CallbackKey::load(&config, "sandbox").unwrap();
    let public = auth::keys::public_files(keys.path(), "order.rpc").unwrap();
    assert_eq!(public, [(format!("{}.pem", order.kid), order.public)]);
}

/// The key of RFC 8037, A.1 to A.3.
#[test]
fn the_id_of_a_key_is_its_thumbprint() {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("private")).unwrap();
    let path = dir.path().join("private/user.rpc.pem");
    let key = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")).unwrap();
    set_mode(&path, 0o600);
    let pair = Pair::load(dir.path(), "user.rpc").unwrap();
    assert_eq!(pair.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert!(pair.public.contains("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), "{}", pair.public);
}
