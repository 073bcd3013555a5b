//! The layout that `docs/ARCHITECTURE.md` asserts: which crate may depend on which, that modules import each other in one
//! direction, and that no service imports another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each crate, and the crates of this project that it may depend on.
const CRATES: [(&str, &[&str]); 7] = [
    ("schnorr", &[]),
    ("core", &["schnorr"]),
    ("net", &["core"]),
    ("storage", &["core"]),
    ("keys", &[]),
    ("dvm", &["core", "keys", "storage"]),
    ("agent", &["core", "dvm", "keys", "net", "storage"]),
];

type Graph = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the source files below a directory, by the path of their module: `net`, `net::session`; empty for the root.
fn modules(directory: &Path) -> BTreeMap<Vec<String>, String> {
    fn walk(directory: &Path, at: &[String], found: &mut BTreeMap<Vec<String>, String>) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                walk(&path, &[at, &[name]].concat(), found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = match name.as_str() {
                    "lib" | "main" | "mod" => at.to_vec(),
                    _ => [at, &[name]].concat(),
                };
                found.entry(module).or_default().push_str(&code(&read(&path)));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, &[], &mut found);
    found
}

/// Returns a text without comments and without the unit tests at its end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().expect("a first part");
    code.lines().map(|line| line.split("//").next().expect("a first part")).collect::<Vec<_>>().join("\n")
}

/// Appends the paths that a `use` names, with its braces resolved.
fn expand(path: &str, out: &mut Vec<String>) {
    let path = path.trim();
    let Some((head, list)) = path.split_once('{') else {
        let name = path.split(" as ").next().expect("a first part").trim();
        return out.push(name.trim_end_matches("::self").to_owned());
    };
    let (mut depth, mut from) = (0, 0);
    let list = list.trim_end().trim_end_matches('}');
    for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[from..at].trim().is_empty() {
                    expand(&format!("{head}{}", list[from..at].trim()), out);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns every path in a file that leads into its own crate, from its root.
fn paths(module: &[String], code: &str) -> Vec<Vec<String>> {
    let mut texts = Vec::new();
    for part in code.split("use ").skip(1) {
        if let Some((path, _)) = part.split_once(';') {
            expand(&path.split_whitespace().collect::<Vec<_>>().join(" "), &mut texts);
        }
    }
    // Paths in the middle of the code.
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    texts.extend(code.split(|c| !is_path(c)).filter(|word| word.contains("::")).map(str::to_owned));
    let resolve = |text: String| {
        let mut parts: Vec<String> = text.split("::").map(|part| part.trim().to_owned()).collect();
        let first = parts.first()?.clone();
        match first.as_str() {
            "crate" => Some(parts.split_off(1)),
            "self" => Some([module, &parts[1..]].concat()),
            "super" => {
                let mut at = module.to_vec();
                while parts.first().is_some_and(|part| part == "super") {
                    at.pop();
                    parts.remove(0);
                }
                Some([at, parts].concat())
            }
            _ => None,
        }
    };
    texts.into_iter().filter_map(resolve).collect()
}

/// Returns which child of a module imports which, for the modules directly below `parent`.
fn siblings(modules: &BTreeMap<Vec<String>, String>, parent: &[String]) -> Graph {
    let depth = parent.len();
    let is_module = |path: &[String]| modules.keys().any(|module| module.starts_with(path));
    let mut graph = Graph::new();
    for (module, code) in modules.iter().filter(|(module, _)| module.len() > depth && module.starts_with(parent)) {
        for path in paths(module, code) {
            let inside = path.len() > depth && path.starts_with(parent) && is_module(&path[..=depth]);
            if inside && path[depth] != module[depth] {
                graph.entry(module[depth].clone()).or_default().insert(path[depth].clone());
            }
        }
    }
    graph
}

/// Returns a cycle, if there is one.
fn cycle(graph: &Graph) -> Option<Vec<String>> {
    fn visit(at: &str, graph: &Graph, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(from) = path.iter().position(|one| one == at) {
            return Some(path[from..].to_vec());
        }
        if done.contains(at) {
            return None;
        }
        path.push(at.to_owned());
        let found = graph.get(at).into_iter().flatten().find_map(|next| visit(next, graph, path, done));
        path.pop();
        done.insert(at.to_owned());
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| visit(start, graph, &mut Vec::new(), &mut done))
}

#[test]
fn crates_depend_on_each_other_as_the_layout_says() {
    for (name, allowed) in CRATES {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies");
        let dependencies = dependencies.split("\n[").next().expect("a first part");
        let found: BTreeSet<&str> =
            dependencies.lines().filter_map(|line| line.strip_prefix("brotr-")?.split(['.', ' ']).next()).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(found.is_subset(&allowed), "{name} depends on {found:?}, and may depend on {allowed:?}");
    }
}

#[test]
fn every_crate_is_in_the_table() {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    let members: BTreeSet<&str> = members.split(',').map(|member| member.trim().trim_matches('"')).collect();
    let table: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).chain(["tests"]).collect();
    assert_eq!(members, table);
}

#[test]
fn modules_import_each_other_in_one_direction() {
    for (name, _) in CRATES {
        let modules = modules(&root().join(name).join("src"));
        assert!(modules.len() > 1, "{name} has modules");
        let parents: BTreeSet<Vec<String>> =
            modules.keys().flat_map(|module| (0..module.len()).map(|depth| module[..depth].to_vec())).collect();
        for parent in parents {
            let found = cycle(&siblings(&modules, &parent));
            assert_eq!(found, None, "a cycle in {name}, below {:?}", parent.join("::"));
        }
    }
}

#[test]
fn no_service_imports_another() {
    let modules = modules(&root().join("agent/src"));
    let graph = siblings(&modules, &["services".to_owned()]);
    assert!(graph.is_empty(), "{graph:?}");
    let services = ["finder", "http", "monitor", "synchronizer"];
    assert!(services.iter().all(|name| modules.contains_key(&vec!["services".to_owned(), (*name).to_owned()])));
}

/// What the simulation runs reads no clock but Tokio's and `core::clock`.
#[test]
fn the_agent_reads_the_clocks_that_a_simulation_replaces() {
    let real = ["time::Instant::now()", "use std::time::Instant", "Timestamp::now()", "SystemTime::now()"];
    // Files have real dates, and command line tools run in real time.
    let is_real = |module: &[String]| {
        let module = module.join("::");
        module.starts_with("cli") || ["services::backup", "services::monitor::place"].contains(&&*module)
    };
    for name in ["net", "dvm", "agent"] {
        for (module, code) in modules(&root().join(name).join("src")) {
            let code = code.replace("tokio::time::Instant::now()", "");
            let imports = code.lines().filter(|line| line.starts_with("use std::time::{"));
            let imports = imports.filter(|line| line.contains("Instant")).count();
            let found: Vec<_> = real.iter().filter(|what| code.contains(**what)).collect();
            assert!(is_real(&module) || (imports == 0 && found.is_empty()), "{name}::{}: {found:?}", module.join("::"));
        }
    }
}

#[test]
fn a_cycle_is_found() {
    let modules = BTreeMap::from([
        (vec!["a".to_owned()], "use crate::{b::{X, Y as Z}, d};".to_owned()),
        (vec!["b".to_owned(), "inner".to_owned()], "fn f() { super::super::c::g() }".to_owned()),
        (vec!["c".to_owned()], "use super::a::T;".to_owned()),
        (vec!["d".to_owned()], String::new()),
    ]);
    let found = cycle(&siblings(&modules, &[])).expect("a cycle");
    assert_eq!(found, ["a", "b", "c"]);
}

/// What answers jobs and what dials does not compile a database; arti, which is optional, brings its own.
#[test]
fn only_the_archive_compiles_a_database() {
    for (name, is_archive) in [("core", false), ("net", false), ("keys", false), ("dvm", false), ("storage", true)] {
        let cargo = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--edges=normal", "--prefix=none", "--package"])
            .arg(format!("brotr-{name}"))
            .args((!is_archive).then_some("--no-default-features"))
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        let tree = String::from_utf8(cargo.stdout).expect("text");
        let compiles = |package: &str| tree.lines().any(|line| line.starts_with(&format!("{package} v")));
        for package in ["sqlx", "rusqlite", "libsqlite3-sys"] {
            assert_eq!(compiles(package), is_archive, "brotr-{name} and {package}");
        }
    }
}
