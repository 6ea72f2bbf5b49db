//! Checks the imports of `src/` against the layers in ARCHITECTURE.md, and that module files list the files of their folders.
//!
//! A module imports only modules of lower layers. Within a folder, files form no cycle; a subfolder counts as one file.
//! Imports between a folder's `mod.rs` and its own files are not restricted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files that may import everything.
const EXEMPT: [&str; 3] = ["lib", "internals", "main"];

/// Comments, and new names of imported items.
static IGNORED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"//.*|\sas\s+\w+").expect("a pattern"));

static DECLARATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);").expect("a pattern"));

static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"crate(?:::\w+)+").expect("a pattern"));

/// A module's path below the crate: `transport`, `relay`, `reader`.
type ModulePath = Vec<String>;

/// The modules of each layer, from the top, as in the table of ARCHITECTURE.md.
fn layers() -> Vec<Vec<String>> {
    let text = read("ARCHITECTURE.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| layer ")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let modules = |row: &str| {
        let cell = row.split('|').nth(2).unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    rows.map(modules).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The modules of `src/`, and which modules each one imports.
fn imports() -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
    let mut sources = BTreeMap::new();
    add_sources(&Path::new(ROOT).join("src"), &[], &mut sources);
    let modules: BTreeSet<ModulePath> = sources.keys().cloned().collect();
    sources.iter().map(|(module, source)| (module.clone(), imports_of(module, source, &modules))).collect()
}

fn add_sources(folder: &Path, path: &[String], sources: &mut BTreeMap<ModulePath, String>) {
    for entry in std::fs::read_dir(folder).expect("src can be read") {
        let file = entry.expect("src can be read").path();
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let mut path = path.to_vec();
        if name != "mod" {
            path.push(name);
        }
        if file.is_dir() {
            add_sources(&file, &path, sources);
        } else {
            sources.insert(path, std::fs::read_to_string(&file).expect("a text"));
        }
    }
}

/// The modules that a source file names in `use` declarations and in paths from `crate`. Test modules may import anything.
fn imports_of(module: &[String], source: &str, modules: &BTreeSet<ModulePath>) -> BTreeSet<ModulePath> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let source = IGNORED.replace_all(source, "");
    let declared = DECLARATION.captures_iter(&source).flat_map(|found| expand(&found[1]));
    let named = PATH.find_iter(&source).map(|found| found.as_str().to_owned());
    let resolved = declared.chain(named).map(|path| resolve(module, &path, modules));
    resolved.filter(|target| !target.is_empty() && target != module).collect()
}

/// Expands `a::{b, c::{d, e}}` to `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree: String = tree.split_whitespace().collect();
    let Some((prefix, list)) = tree.split_once('{') else { return vec![tree] };
    let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            items.push(String::new());
        } else {
            items.last_mut().expect("one at least").push(c);
        }
    }
    let items = items.iter().filter(|item| !item.is_empty());
    items.flat_map(|item| expand(item)).map(|item| format!("{prefix}{item}")).collect()
}

/// The module that a path leads to: its longest prefix that is one.
fn resolve(module: &[String], path: &str, modules: &BTreeSet<ModulePath>) -> ModulePath {
    let mut base = module.to_vec();
    let mut levels: Vec<&str> = path.split("::").collect();
    if levels[0] == "crate" {
        base.clear();
    }
    base.truncate(base.len().saturating_sub(levels.iter().filter(|level| **level == "super").count()));
    levels.retain(|level| !matches!(*level, "crate" | "self" | "super"));
    let mut target: ModulePath = base.into_iter().chain(levels.into_iter().map(str::to_owned)).collect();
    while !target.is_empty() && !modules.contains(&target) {
        target.pop();
    }
    target
}

#[test]
fn a_module_imports_only_lower_layers() {
    let layers = layers();
    let layer = |name: &str| layers.iter().position(|modules| modules.iter().any(|it| it == name));
    let imports = imports();
    let mut faults = Vec::new();
    for (module, targets) in imports.iter().filter(|(module, _)| !EXEMPT.contains(&module[0].as_str())) {
        let from = &module[0];
        let Some(from_layer) = layer(from) else {
            panic!("src/{from} is in no layer: add it to the table in ARCHITECTURE.md")
        };
        for to in targets.iter().map(|target| &target[0]).filter(|to| *to != from && !EXEMPT.contains(&to.as_str())) {
            if layer(to).is_none_or(|to_layer| to_layer <= from_layer) {
                faults.push(format!("{} imports {to}, which is not in a lower layer", module.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "see ARCHITECTURE.md:\n{}", faults.join("\n"));
    for module in layers.iter().flatten() {
        assert!(imports.contains_key(&vec![module.clone()]), "ARCHITECTURE.md names {module}, which does not exist");
    }
}

#[test]
fn the_files_of_a_folder_form_no_cycle() {
    let imports = imports();
    let folders: BTreeSet<&[String]> =
        imports.keys().flat_map(|module| (0..module.len()).map(move |n| &module[..n])).collect();
    for folder in folders {
        let depth = folder.len();
        let is_inside = |module: &ModulePath| module.len() > depth && module.starts_with(folder);
        let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (module, targets) in imports.iter().filter(|(module, _)| is_inside(module)) {
            let targets = targets.iter().filter(|target| is_inside(target)).map(|target| target[depth].as_str());
            let from = module[depth].as_str();
            graph.entry(from).or_default().extend(targets.filter(|to| *to != from));
        }
        // Remove files without imports until none is left: what remains is in a cycle, or imports one.
        while let Some(leaf) = graph.iter().find(|(_, targets)| targets.is_empty()).map(|(name, _)| *name) {
            graph.remove(leaf);
            for targets in graph.values_mut() {
                targets.remove(leaf);
            }
        }
        assert!(graph.is_empty(), "a cycle in src/{}: {graph:?}", folder.join("/"));
    }
}

#[test]
fn the_module_file_of_a_folder_lists_its_files() {
    let mut sources = BTreeMap::new();
    add_sources(&Path::new(ROOT).join("src"), &[], &mut sources);
    let mut faults = Vec::new();
    for (module, source) in sources.iter().filter(|(module, _)| !module.is_empty()) {
        let head: String = source.lines().take_while(|line| line.starts_with("//!")).collect();
        let files = sources.keys().filter(|file| file.len() == module.len() + 1 && file.starts_with(module));
        for name in files.filter_map(|file| file.last()) {
            let is_for_tests = source.contains(&format!("#[cfg(test)]\nmod {name};"));
            if !is_for_tests && !head.contains(&format!("`{name}`")) {
                faults.push(format!("the head of {} does not list {name}", module.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Libraries that one file of `src/` names.
const OWNERS: [(&str, &str); 2] = [("colored", "output::color"), ("paho_mqtt", "transport::library")];

#[test]
fn a_wrapped_library_is_named_by_one_file() {
    let mut sources = BTreeMap::new();
    add_sources(&Path::new(ROOT).join("src"), &[], &mut sources);
    for (library, owner) in OWNERS {
        let users =
            sources.iter().filter(|(_, source)| IGNORED.replace_all(source, "").contains(&format!("use {library}")));
        let users: Vec<String> = users.map(|(module, _)| module.join("::")).collect();
        assert_eq!(users, [owner], "{library}");
    }
}

#[test]
fn imports_are_found_in_any_form() {
    let modules: BTreeSet<ModulePath> =
        ["a", "a::b", "a::c", "d"].map(|it| it.split("::").map(str::to_owned).collect()).into();
    let source = "use super::{c::{X, Y as Z}, W};\nfn f() { crate::d::g(); } // crate::a::c\n#[cfg(test)]\nmod tests { use crate::x; }";
    let found = imports_of(&["a".to_owned(), "b".to_owned()], source, &modules);
    let found: Vec<String> = found.iter().map(|module| module.join("::")).collect();
    assert_eq!(found, ["a", "a::c", "d"]);
}
