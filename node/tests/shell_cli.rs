//! The verbs of the shell as scripts meet them: JSON on standard output, documented exit codes, remedies.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use clap::Parser;
use protocol::wire::charter::Charter;
use serde_json::Value;
use starling_node::cli::output::{CliError, ExitCode, Format, Output};
use starling_node::cli::{
    charter, config_show, data, doctor, health, init, key, metrics, peers, report, status,
};
use starling_node::store::lock::DirLock;
use starling_node::store::status::{NodeStatus, PEERS_FILE, PeerStatus, STATUS_FILE, write};

/// The verbs of this crate's shell rooms, as the program names them.
#[derive(Parser)]
#[command(name = "starling")]
enum Verb {
    Init(init::Args),
    #[command(subcommand)]
    Key(key::Command),
    #[command(subcommand)]
    Config(config_show::Command),
    Doctor(doctor::Args),
    Status(status::Args),
    Health(health::Args),
    Report(report::Args),
    #[command(subcommand)]
    Metrics(metrics::Command),
    Peers(peers::Args),
    #[command(subcommand)]
    Charter(charter::Command),
    #[command(subcommand)]
    Data(data::Command),
}

/// Runs a command line; the JSON it printed (or the text), and how it ended.
fn starling(line: &[&str], format: Format) -> (String, Result<(), CliError>) {
    let verb =
        Verb::try_parse_from(["starling"].iter().chain(line)).unwrap_or_else(|e| panic!("{line:?}: {e}"));
    let (output, printed) = Output::kept(format);
    let result = match verb {
        Verb::Init(args) => init::run(&args, &output),
        Verb::Key(command) => key::run(&command, &output),
        Verb::Config(command) => config_show::run(&command, &output),
        Verb::Doctor(args) => doctor::run(&args, &output),
        Verb::Health(args) => health::run(&args, &output),
        Verb::Report(args) => report::run(&args, &output),
        Verb::Metrics(command) => metrics::run(&command, &output),
        Verb::Status(args) => status::run(&args, &output),
        Verb::Peers(args) => peers::run(&args, &output),
        Verb::Charter(command) => charter::run(&command, &output),
        Verb::Data(command) => data::run(&command, &output),
    };
    (printed.text(), result)
}

fn ok(line: &[&str]) -> Value {
    let (text, result) = starling(line, Format::Json);
    result.unwrap_or_else(|e| panic!("{line:?}: {e}"));
    let envelope: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line:?}: {e}: {text}"));
    assert_eq!((envelope["schema_version"].as_u64(), envelope["status"].as_str()), (Some(1), Some("ok")));
    envelope["data"].clone()
}

fn fails(line: &[&str], code: ExitCode) -> CliError {
    let (text, result) = starling(line, Format::Json);
    let error = result.expect_err(&text);
    assert_eq!(error.code, code, "{line:?}: {error}");
    assert!(!error.remedy.is_empty(), "{line:?}: an error says what to do: {error}");
    error
}

/// A node's directory with free ports.
fn node(root: &Path, name: &str) -> String {
    let dir = root.join(name).display().to_string();
    ok(&["init", "--dir", &dir, "--name", name, "--listen", "/ip4/127.0.0.1/tcp/0"]);
    dir
}

fn check<'a>(checks: &'a Value, name: &str) -> &'a Value {
    let all = checks.as_array().expect("doctor gives a list");
    all.iter()
        .find(|c| c["name"].as_str().is_some_and(|n| n.starts_with(name)))
        .unwrap_or_else(|| panic!("{name} in {checks}"))
}

#[test]
fn init_makes_a_node_once_and_never_overwrites() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    let again = ok(&["init", "--dir", &dir]);
    assert_eq!(
        (again["is_identity_new"].as_bool(), again["is_config_new"].as_bool()),
        (Some(false), Some(false))
    );
    assert_eq!(ok(&["key", "show", "--dir", &dir])["peer_id"], again["peer_id"]);
    fails(&["init", "--dir", &dir, "--name", "eve"], ExitCode::Refused);
    let bad = root.path().join("bad").display().to_string();
    let error = fails(&["init", "--dir", &bad, "--listen", "0.0.0.0:80"], ExitCode::Config);
    assert!(error.why.contains("did you mean \"/ip4/0.0.0.0/tcp/80\"?"), "{error}");
    assert!(!Path::new(&bad).exists(), "nothing is made when a value is wrong");
}

#[test]
fn a_key_is_backed_up_to_a_new_private_file_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    let out = root.path().join("backup.key").display().to_string();
    ok(&["key", "export", "--dir", &dir, "--out", &out]);
    assert_eq!(fs::read(&out).unwrap(), fs::read(Path::new(&dir).join("identity.key")).unwrap());
    fails(&["key", "export", "--dir", &dir, "--out", &out], ExitCode::Refused);
    fails(&["key", "show", "--dir", "/nowhere"], ExitCode::Config);
    let (text, _) = starling(&["key", "show", "--dir", &dir], Format::Text);
    let secret = fs::read_to_string(&out).unwrap().lines().nth(1).unwrap()[5..].to_owned();
    assert!(text.contains("/p2p/12D3Koo") && !text.contains(&secret));
}

#[test]
fn config_show_tells_where_each_value_comes_from() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    let settings = ok(&["config", "show", "--dir", &dir]);
    let name = settings.as_array().unwrap().iter().find(|s| s["name"] == "node.name").unwrap();
    assert_eq!(name["value"], "\"ada\"");
    assert!(name["origin"].as_str().unwrap().contains("starling.toml:"), "{name}");
    let (text, _) = starling(&["config", "show", "--dir", &dir, "--origin"], Format::Text);
    assert!(text.contains("[network]") && text.contains("# default"), "{text}");
    assert!(text.parse::<toml::Table>().is_ok(), "what is shown is a settings file: {text}");
    fails(&["config", "show", "--dir", "/nowhere"], ExitCode::Config);
}

#[test]
fn doctor_is_content_with_a_fresh_node() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    let checks = ok(&["doctor", "--dir", &dir]);
    for name in ["clock", "settings", "directory", "identity", "lock", "device", "listen"] {
        assert_eq!(check(&checks, name)["verdict"], "good", "{checks}");
    }
    for name in ["charter", "data", "bootstrap"] {
        assert_eq!(check(&checks, name)["verdict"], "warning", "{checks}");
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "doctor leaves nothing behind");
}

#[test]
fn doctor_names_each_trouble_with_its_reason_and_remedy() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken_port, closed_port) = (taken.local_addr().unwrap().port(), free.local_addr().unwrap().port());
    drop(free);
    let config = format!(
        "[node]\ndata = \"absent.conll\"\n[network]\nlisten = [\"/ip4/127.0.0.1/tcp/{taken_port}\"]\nquic = false\n\
         bootstrap = [\"/ip4/127.0.0.1/tcp/{closed_port}\", \"/dns4/no-such-name.invalid/tcp/1\"]\n"
    );
    fs::write(Path::new(&dir).join("starling.toml"), &config).unwrap();
    let error = fails(&["doctor", "--dir", &dir], ExitCode::Config);
    let checks = error.details.unwrap();
    assert!(check(&checks, "listen")["found"].as_str().unwrap().contains("another program"), "{checks}");
    assert!(check(&checks, "data")["found"].as_str().unwrap().contains("absent.conll"), "{checks}");
    assert!(
        check(&checks, "bootstrap /ip4")["found"].as_str().unwrap().contains("nothing listens"),
        "{checks}"
    );
    assert!(check(&checks, "bootstrap /dns4")["found"].as_str().unwrap().contains("name"), "{checks}");
    assert_eq!(check(&checks, "bootstrap /dns4")["verdict"], "bad");

    // One peer that answers is enough: a node alone is a state and no error.
    let config = config.replace(&format!("tcp/{closed_port}\""), &format!("tcp/{taken_port}\"")).replace(
        &format!("listen = [\"/ip4/127.0.0.1/tcp/{taken_port}\"]"),
        "listen = [\"/ip4/127.0.0.1/tcp/0\"]",
    );
    fs::write(Path::new(&dir).join("starling.toml"), config.replace("data =", "#data =")).unwrap();
    let checks = ok(&["doctor", "--dir", &dir]);
    assert_eq!(check(&checks, "bootstrap /ip4")["verdict"], "good", "{checks}");
    assert_eq!(check(&checks, "bootstrap /dns4")["verdict"], "warning", "{checks}");

    fs::write(Path::new(&dir).join("starling.toml"), "[netwrok]\n").unwrap();
    let error = fails(&["doctor", "--dir", &dir], ExitCode::Config);
    assert!(check(&error.details.unwrap(), "settings")["found"].as_str().unwrap().contains("did you mean"));
}

#[test]
fn status_tells_a_running_node_from_a_stopped_one_and_from_one_that_never_ran() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    fails(&["status", "--dir", &dir], ExitCode::Unreachable);
    let path = Path::new(&dir);
    let said = NodeStatus {
        name: "ada\nforged".into(),
        outer_step: 7,
        state: "training".into(),
        ..NodeStatus::default()
    };
    write(&path.join(STATUS_FILE), &said).unwrap();
    let peer = PeerStatus {
        peer_id: "ab".repeat(32),
        name: "bell\u{1b}[2J".into(),
        is_linked: true,
        ..PeerStatus::default()
    };
    write(&path.join(PEERS_FILE), &[peer]).unwrap();
    let error = fails(&["status", "--dir", &dir], ExitCode::Unreachable);
    assert!(error.remedy.contains("starling run"), "{error}");
    fails(&["peers", "--dir", &dir], ExitCode::Unreachable);

    fails(&["health", "--dir", &dir], ExitCode::Unreachable);

    let lock = DirLock::acquire(path).unwrap();
    assert_eq!(ok(&["health", "--dir", &dir])["outer_step"], 7);
    let status = ok(&["status", "--dir", &dir]);
    assert_eq!((status["outer_step"].as_u64(), status["is_running"].as_bool()), (Some(7), Some(true)));
    for field in [
        "peer_id",
        "organization",
        "run",
        "stage",
        "peers",
        "score_last",
        "bytes_sent",
        "bytes_received",
        "consensus_distance_relative",
        "state",
    ] {
        assert!(status.get(field).is_some(), "{field} is a contract");
    }
    assert_eq!(ok(&["peers", "--dir", &dir])["peers"].as_array().unwrap().len(), 1);
    let (text, _) = starling(&["peers", "--dir", &dir], Format::Text);
    assert!(text.contains("1 known, 1 linked") && !text.contains('\u{1b}'), "{text:?}");
    let (text, _) = starling(&["status", "--dir", &dir], Format::Text);
    assert!(text.contains("ada\\nforged"), "{text:?}");

    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(path.join(STATUS_FILE)).unwrap().set_modified(old).unwrap();
    let error = fails(&["status", "--dir", &dir], ExitCode::Unreachable);
    assert!(error.what.contains("has not written its status"), "{error}");
    let checks = ok(&["doctor", "--dir", &dir]);
    assert_eq!(check(&checks, "lock")["verdict"], "warning");
    drop(lock);
}

#[test]
fn made_data_is_the_same_for_a_seed_is_shared_without_loss_and_passes_its_own_check() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let make = |recipe: &str, out: &str, seed: &str| {
        ok(&[
            "data", "make", recipe, "--out", out, "--seed", seed, "--train", "300", "--dev", "40", "--test",
            "60",
        ])
    };
    for recipe in ["newswire", "requests", "reviews"] {
        let (first, again, other) =
            (path(&format!("{recipe}-1")), path(&format!("{recipe}-2")), path(&format!("{recipe}-3")));
        let made = make(recipe, &first, "7");
        assert_eq!(make(recipe, &again, "7")["files"][0]["hash"], made["files"][0]["hash"]);
        assert_ne!(make(recipe, &other, "8")["files"][0]["hash"], made["files"][0]["hash"]);
        let checked = ok(&["data", "check", &first]);
        assert_eq!(checked["reports"][0]["good"], 300, "{checked}");
        assert_eq!(checked["reports"][1]["good"], 40, "{checked}");
        assert_eq!(checked["reports"][2]["good"], 60, "{checked}");
        fails(&["data", "make", recipe, "--out", &first], ExitCode::Refused);
    }
    let shared = path("shared");
    let made =
        ok(&["data", "make", "ner", "--out", &shared, "--train", "300", "--test", "60", "--nodes", "5"]);
    let train = made["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["file"].as_str().unwrap().ends_with("train.conll"));
    let samples: Vec<u64> = train.map(|f| f["samples"].as_u64().unwrap()).collect();
    assert_eq!((samples.len(), samples.iter().sum::<u64>()), (5, 300), "{made}");
    let checked = ok(&["data", "check", &format!("{shared}/node-3")]);
    assert_eq!(checked["reports"].as_array().map(Vec::len), Some(2), "train and dev: {checked}");
    fails(&["data", "make", "abacus", "--out", &path("x")], ExitCode::Usage);
    fails(&["data", "make", "ner", "--out", &path("y"), "--nodes", "0"], ExitCode::Usage);
}

/// A charter of one founder with a far expiry.
fn draft(founder: &str) -> String {
    let hash = "0".repeat(64);
    format!(
        "# for review\nname = \"newswire\"\npurpose = \"Find names together\"\nversion = 1\nexpires = 4000000000\n\
         founders = [\"{founder}\"]\nthreshold = 1\n\n[model]\narchitecture = \"{{}}\"\nlayout = \"{hash}\"\nparameters = 10\n\
         genesis = {{ seed = 7 }}\n\n[task]\nkind = \"tagging\"\nlabels = [\"O\"]\nmetric = \"f1\"\ntokens_max = 128\n\n\
         [train]\noptimizer = \"adamw\"\nrate = 0.001\nbatch = 16\nweight_decay = 0.01\nclip = 1.0\nwarmup_share = 0.1\n\
         decay_share = 0.2\n\n[exchange]\nshards = true\npredictions = false\ncodec = \"int8\"\nsettle_codec = \"f16\"\n\
         inner_steps_min = 1\n\n[mixing]\npulls = 4\nbyzantine = 0\nrule = \"mean\"\nouter_momentum = 0.5\nouter_rate = 0.7\n\
         staleness_max = 8\n\n[schedule]\nouter_steps = 24\nsettle_steps = 6\ninner_steps = 20\nouter_seconds_max = 0\n\
         patience_ms = 2000\nevaluate_every = 4\n\n[admission]\nclosed = [{{ peer = \"{founder}\", organization = \"Ada\" }}]\n\n\
         [audit]\ncards = true\nledger_head = true\n"
    )
}

#[test]
fn a_charter_goes_from_draft_to_force_and_doctor_knows_its_members() {
    let root = tempfile::tempdir().unwrap();
    let (ada, eve) = (node(root.path(), "ada"), node(root.path(), "eve"));
    let founder = ok(&["key", "show", "--dir", &ada])["peer_id"].as_str().unwrap().to_owned();
    let file = Path::new(&ada).join("charter.toml");
    fs::write(&file, draft(&founder)).unwrap();
    let path = file.display().to_string();
    let error = fails(&["charter", "check", &path], ExitCode::Refused);
    assert!(error.why.contains(&founder), "{error}");
    fails(&["charter", "sign", &path, "--dir", &eve], ExitCode::Refused);
    assert_eq!(ok(&["charter", "sign", &path, "--dir", &ada])["signatures"], 1);
    let run = ok(&["charter", "check", &path])["run"].clone();
    assert!(fs::read_to_string(&file).unwrap().starts_with("# for review\n"));
    assert_eq!(ok(&["charter", "show", &path])["run"], run);
    let parsed: Charter = serde_json::from_value(ok(&["charter", "show", &path])["charter"].clone()).unwrap();
    assert_eq!(parsed.schedule.outer_steps, 24);
    assert_eq!(check(&ok(&["doctor", "--dir", &ada]), "membership")["verdict"], "good");
    fs::copy(&file, Path::new(&eve).join("charter.toml")).unwrap();
    let error = fails(&["doctor", "--dir", &eve], ExitCode::Refused);
    assert!(check(&error.details.unwrap(), "membership")["found"].as_str().unwrap().contains("not among"));

    let text = fs::read_to_string(&file).unwrap();
    for (from, to, code) in [
        ("pulls = 4", "pulls = 0", ExitCode::Config),
        ("pulls = 4", "pulls = 5", ExitCode::Refused),
        ("pulls = 4", "pols = 4", ExitCode::Config),
        ("expires = 4000000000", "expires = 1000000000", ExitCode::Refused),
    ] {
        fs::write(&file, text.replace(from, to)).unwrap();
        fails(&["charter", "check", &path], code);
    }
}

#[test]
fn data_check_tells_good_data_from_bad_and_names_the_rows() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = write("train.conll", "Ada B-PER\nworked O\n\nBell B-ORG\ncalls O\n\n");
    let data = ok(&["data", "check", &good]);
    assert_eq!((data["task"].as_str(), data["is_usable"].as_bool()), (Some("tagging"), Some(true)));
    let texts = write("reviews.csv", "text,label\ngood,1\nbad,0\n");
    assert_eq!(ok(&["data", "check", &texts])["task"], "classify");
    let empty = write("empty.conll", "");
    fails(&["data", "check", &empty], ExitCode::Data);
    let bad = write("bad.csv", "text,label\ngood,1\n\"never closed,0\n");
    fails(&["data", "check", &bad], ExitCode::Data);
    let (_, result) = starling(&["data", "check", "/nowhere"], Format::Text);
    assert_eq!(result.unwrap_err().code, ExitCode::Data);
    let schema = write("schema.toml", "task = \"tagging\"\ncolums = 1\n");
    fails(&["data", "check", &good, "--schema", &schema], ExitCode::Config);
}

#[test]
fn a_run_is_told_as_one_page_a_table_and_a_graph() {
    let root = tempfile::tempdir().unwrap();
    let dir = node(root.path(), "ada");
    let error = fails(&["report", &dir], ExitCode::Usage);
    assert!(error.remedy.contains("directory of a node"), "{error}");
    let path = Path::new(&dir);
    let said = NodeStatus { name: "ada".into(), peer_id: "aa".repeat(32), ..NodeStatus::default() };
    write(&path.join(STATUS_FILE), &said).unwrap();
    let bell = "bb".repeat(32);
    let peer = PeerStatus { peer_id: bell.clone(), name: "bell".into(), ..PeerStatus::default() };
    write(&path.join(PEERS_FILE), &[peer]).unwrap();
    let event = serde_json::json!({"t":1.0,"node":"ada","event":"pulled","step":4,"peer":bell,"staleness":1,"shards":8});
    fs::write(path.join("events.jsonl"), format!("{event}\n")).unwrap();
    let metric = r#"{"t":1.0,"node":"ada","step":8,"outer":4,"name":"loss","value":0.5,"tags":{}}"#;
    fs::write(path.join("metrics.jsonl"), format!("{metric}\n")).unwrap();
    assert_eq!(ok(&["report", &dir])["nodes"], 1);
    let page = fs::read_to_string(path.join("swarm.html")).unwrap();
    assert!(page.contains("bell") && !page.contains("<script") && !page.contains("http://1"), "{page:.400}");
    assert_eq!(ok(&["metrics", "export", &dir, "--as", "csv"])["values"], 1);
    assert!(fs::read_to_string(path.join("metrics.csv")).unwrap().contains("1.0,ada,8,4,loss,0.5,"));
    assert_eq!(ok(&["metrics", "export", &dir, "--as", "graphml"])["edges"], 1);
    assert!(fs::read_to_string(path.join("swarm.graphml")).unwrap().contains("attr.name=\"shards\""));
}
