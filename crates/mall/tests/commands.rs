//! What each command prints, and its exit codes: 0 done, 1 failed, 2 a wrong command line.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::process::{Mall, Signal, signal};

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

type Variables = [(&'static str, &'static str)];

/// Runs a command that must end with `code`, and answers what it printed.
fn run(arguments: &[&str], variables: &Variables, dir: &Path, code: i32) -> String {
    let mut command = Command::new(MALL);
    command.args(arguments).envs(variables.iter().copied()).current_dir(dir);
    let output = command.output().expect("run mall");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

#[test]
fn a_wrong_command_line_is_2_and_says_what_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "mall up"),
        (&["serve"], "<NAME>"),
        (
            &["serve", "user.ap"],
            "possible values: user.api, product.api, order.api, pay.api, user.rpc, product.rpc, order.rpc, pay.rpc, viewer",
        ),
        (&["migrate", "viewer"], "possible values: user.rpc, product.rpc, order.rpc, pay.rpc"),
        (&["up", "--data"], "--data-dir"),
        (&["up", "--otlp", "nonsense"], "http://HOST:PORT"),
        (&["demo", "--user-api", "https://127.0.0.1:9"], "http://HOST:PORT"),
        (&["load", "--mix", "steal=1"], "use browse, order and pay"),
        (&["load", "--duration", "0s"], "90s"),
        (&["dmeo"], "demo"),
    ];
    for (arguments, part) in cases {
        let text = run(arguments, &[], dir.path(), 2);
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
    assert!(run(&["--help"], &[], dir.path(), 0).contains("mall demo"));
}

#[test]
fn a_wrong_configuration_is_1_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let unknown = file("unknown.yaml", "telemetry:\n  samplr: 1\n");
    let bad = file("bad.yaml", "telemetry:\n  sampler: often\n");
    let broken = file("broken.yaml", "telemetry: [\n");
    for name in ["user.api", "user.rpc", "product.rpc", "order.api", "pay.rpc", "viewer"] {
        let cases: &[(&[&str], &Variables, &[&str])] = &[
            (&["--config", &unknown], &[], &["unknown.yaml:2", "telemetry.samplr", "`sampler`"]),
            (&["--config", &bad], &[], &["bad.yaml:2", "telemetry.sampler", "often"]),
            (&["--config", &broken], &[], &["broken.yaml:", "not YAML"]),
            (&["--config", "none.yaml"], &[], &["none.yaml", "--config"]),
            (&["--config-dir", "none"], &[], &["none", "--config-dir"]),
            (&[], &[("MALL__TELEMETRY__BATCHER", "pigeon")], &["MALL__TELEMETRY__BATCHER", "pigeon", "otlpgrpc"]),
            (
                &[],
                &[("MALL__TELEMETRY__QUEUE__BATCH", "4096")],
                &["telemetry.queue", "`batch` must be from 1 to `size`"],
            ),
            (&[], &[("MALL__NONSENSE", "1")], &["MALL__NONSENSE", "`nonsense`"]),
        ];
        for (flags, variables, parts) in cases {
            for command in ["serve", "config"] {
                let text = run(&[&[command, name], *flags].concat(), variables, dir.path(), 1);
                assert!(parts.iter().all(|part| text.contains(part)), "{command} {name} {flags:?}: {text}");
                assert_eq!(text.trim().lines().count(), 1, "{text}");
            }
        }
    }
}

#[test]
fn config_shows_every_value_its_place_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f.yaml"), "pool:\n  size: 3\n").unwrap();
    let variables = [
        ("MALL__DATABASE", "postgres://mall:hunter2@db/user"),
        ("MALL__TELEMETRY__HEADERS__AUTHORIZATION", "Bearer hunter3"),
        ("OTEL_SERVICE_NAME", "accounts"),
    ];
    let text = run(&["config", "user.rpc", "--config", "f.yaml"], &variables, dir.path(), 0);
    let line = |key: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("pool.size"), "pool.size 3 f.yaml:2");
    assert_eq!(line("pool.wait"), "pool.wait 1s default");
    let built_in = include_str!("../../../etc/user.rpc.yaml");
    let at = 1 + built_in.lines().position(|line| line.trim_start().starts_with("sampler:")).unwrap();
    assert_eq!(line("telemetry.sampler"), format!("telemetry.sampler 1.0 built-in etc/user.rpc.yaml:{at}"));
    assert!(line("database").ends_with("environment variable MALL__DATABASE"));
    assert_eq!(line("telemetry.name"), "telemetry.name accounts environment variable OTEL_*");
    assert!(line("telemetry.headers.authorization").contains("***"));
    assert!(!text.contains("hunter"), "{text}");
}

#[test]
fn keys_are_made_once_and_only_for_the_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let made = run(&["keys", "--out", "k"], &[], dir.path(), 0);
    assert!(made.contains("made k/private/user.rpc.pem") && !made.contains("PRIVATE KEY"), "{made}");
    let private = dir.path().join("k/private/user.rpc.pem");
    assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&private).unwrap();
    assert!(run(&["keys", "--out", "k"], &[], dir.path(), 0).contains("nothing was changed"));
    assert_eq!(std::fs::read(&private).unwrap(), before);

    let rotated = run(&["keys", "--out", "k", "--rotate", "user.rpc"], &[], dir.path(), 0);
    assert!(rotated.contains("user.rpc has the new key") && rotated.contains("remove k/public/user.rpc/"), "{rotated}");
    assert!(run(&["keys", "--out", "none", "--rotate", "user.rpc"], &[], dir.path(), 1).contains("no signing key"));
    assert_eq!(std::fs::read_dir(dir.path().join("k/public/user.rpc")).unwrap().count(), 2);

    let secrets = run(&["keys", "--out", "k", "--kubernetes"], &[], dir.path(), 0);
    assert_eq!(run(&["keys", "--out", "k", "--kubernetes"], &[], dir.path(), 0), secrets, "it can be done again");
    let kinds = |part: &str| secrets.lines().filter(|line| line.contains(part)).count();
    assert_eq!((kinds("kind: Secret"), kinds("component: private-key"), kinds("component: public-key")), (9, 5, 4));
    assert_eq!(kinds("part-of: mall"), 9);
    // Both public keys of the one that was rotated are there.
    let public = secrets.split("---\n").find(|text| text.contains("name: user.rpc-public\n")).unwrap();
    assert_eq!(public.matches(".pem\": ").count(), 2, "{public}");
    let encoded = |name: &str| BASE64_STANDARD.encode(std::fs::read(dir.path().join("k/private").join(name)).unwrap());
    for name in ["user.rpc.pem", "sandbox.secret"] {
        assert!(secrets.contains(&format!("data:\n  \"{name}\": {}\n", encoded(name))), "{name} is not in {secrets}");
    }
    assert!(run(&["keys", "--kubernetes"], &[], dir.path(), 0).contains("name: pay.rpc-private\n"), "made at once");
}

#[test]
fn a_database_is_migrated_twice_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let text = run(&["migrate", "user.rpc"], &[("MALL__DATABASE", "sqlite:user.db")], dir.path(), 0);
        assert_eq!(text, "user.rpc: the database has the newest schema\n");
    }
    let nowhere = [("MALL__DATABASE", "sqlite:/dev/null/user.db")];
    let text = run(&["migrate", "user.rpc"], &nowhere, dir.path(), 1);
    assert!(text.contains("user.rpc") && !text.contains("trying again"), "{text}");
    let text = run(&["migrate", "user.rpc", "--wait", "1s"], &nowhere, dir.path(), 1);
    assert!(text.contains("connect to the database") && text.contains("trying again"), "{text}");
}

#[test]
fn a_migration_waits_for_a_database_that_is_not_up_yet() {
    let dir = tempfile::tempdir().unwrap();
    // In place of the directory of the database there is a file, for a while.
    let path = dir.path().join("late");
    std::fs::write(&path, "").unwrap();
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        std::fs::remove_file(path).unwrap();
    });
    let variables = [("MALL__DATABASE", "sqlite:late/user.db"), ("MALL_WAIT", "1m")];
    let text = run(&["migrate", "user.rpc"], &variables, dir.path(), 0);
    assert!(text.contains("trying again") && text.contains("user.rpc: the database has the newest schema"), "{text}");
    late.join().unwrap();
}

#[tokio::test]
async fn a_demo_shows_each_step_and_its_trace() {
    let dir = tempfile::tempdir().unwrap();
    let text = run(&["demo", "--user-api", NOWHERE], &[], dir.path(), 1);
    assert!(text.contains("nothing answers at http://127.0.0.1:9") && text.contains("mall up"), "{text}");

    let mall = Mall::of(MALL).start().await;
    let (data, viewer) = (mall.data().display().to_string(), mall.url("viewer"));
    let text = run(&["demo", "--data-dir", &data], &[], dir.path(), 0);
    assert_eq!(text.matches(&format!("{viewer}/trace/")).count(), 9, "{text}");
    assert!(text.contains("/api/pay/callback") && text.contains("\"status\":1,\"quantity\":\"2\""), "{text}");
    assert!(text.contains("The traces are there"), "{text}");
    let text = run(&["demo", "--data-dir", &data, "--viewer", NOWHERE], &[], dir.path(), 0);
    assert!(text.contains("Nothing answers at http://127.0.0.1:9") && !text.contains("are there"), "{text}");
    let text = run(&["demo", "--data-dir", &data, "--keys", "none"], &[], dir.path(), 1);
    assert!(text.contains("--data-dir"), "{text}");

    let unsampled = Mall::of(MALL).variable("MALL__TELEMETRY__SAMPLER", "0").start().await;
    let data = unsampled.data().display().to_string();
    let text = run(&["demo", "--data-dir", &data], &[], dir.path(), 0);
    assert_eq!(text.matches("not sampled, so no trace").count(), 9, "{text}");
    assert!(!text.contains("are there") && !text.contains("Nothing answers"), "{text}");
}

#[tokio::test]
async fn a_load_is_a_table_and_fails_when_an_operation_does() {
    let dir = tempfile::tempdir().unwrap();
    let mall = Mall::of(MALL).start().await;
    let data = mall.data().display().to_string();
    let load = |flags: &[&str], code| {
        let few = ["load", "--data-dir", &data, "--users", "2", "--rate", "20", "--duration", "1s"];
        run(&[&few[..], flags].concat(), &[], dir.path(), code)
    };
    let text = load(&["--mix", "browse=1,order=1,pay=1"], 0);
    assert!(text.contains("20 operations in") && text.contains(", 0 failed"), "{text}");
    assert!(["browse", "order", "pay", "  callback"].iter().all(|row| text.contains(&format!("\n{row} "))), "{text}");
    assert!(text.contains(&format!("the slowest pay: {}/trace/", mall.url("viewer"))), "{text}");

    let text = load(&["--json"], 0);
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&json["operations"], &json["failed"]), (&20.into(), &0.into()), "{text}");

    let text = load(&["--mix", "pay=1", "--pay-api", NOWHERE], 1);
    assert!(text.contains("20 x connect") && text.contains("mall: 20 of 20 operations failed"), "{text}");

    let text = load(&["--faults", "1"], 1);
    assert!(text.contains("MALL__SERVER__FAULTS=true"), "{text}");
}

#[tokio::test]
async fn a_load_asks_for_faults() {
    let dir = tempfile::tempdir().unwrap();
    let mall = Mall::of(MALL).variable("MALL__SERVER__FAULTS", "true").start().await;
    let data = mall.data().display().to_string();
    let load = ["load", "--data-dir", &data, "--users", "2", "--rate", "50", "--duration", "1s", "--mix", "pay=1"];
    let text = run(&[&load[..], &["--faults", "1"]].concat(), &[], dir.path(), 0);
    assert!(text.contains("503 UNAVAILABLE") && !text.contains(", 0 failed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_until_it_is_told_to_stop() {
    // Tokens end within the test, but for the leeway of 5 s.
    let mall = Mall::of(MALL).variable("MALL__AUTH__USER_TOKEN", "1s").start().await;
    let secret = std::fs::read(mall.data().join("keys/private/sandbox.secret")).unwrap();
    let keys = tempfile::tempdir().unwrap();
    std::fs::create_dir(keys.path().join("private")).unwrap();
    let path = keys.path().join("private/sandbox.secret");
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    let mut load = Command::new(MALL);
    load.args(["load", "--duration", "forever", "--users", "2", "--rate", "20", "--wait", "1m"]);
    load.env("MALL_KEYS", keys.path()).env("MALL_DATA_DIR", "none").stderr(Stdio::piped());
    for api in ["user", "product", "order", "pay"] {
        load.env(format!("MALL_{}_API", api.to_uppercase()), mall.url(&format!("{api}.api")));
    }
    let load = load.stdout(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    signal(load.id(), Signal::TERM);
    let done = load.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{out}{err}");
    assert!(out.contains(", 0 failed"), "{out}");
    assert!(err.contains("10s: ") && err.contains(" operations, 0 failed, "), "{err}");
}

#[test]
fn a_load_waits_for_a_mall_that_is_not_up_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut load = Command::new(MALL);
    load.args(["load", "--mix", "browse=1", "--wait", "1s", "--product-api", "http://127.0.0.1:9"]);
    let done = load.current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("nothing answers at http://127.0.0.1:9") && text.contains("trying again"), "{text}");
}
