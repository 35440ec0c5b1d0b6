//! Circles of files: no two files of a crate import each other, directly or through others, except a module and those inside
//! it. An arrow is a `use` declaration of a module, followed through re-exports to the file that has the item.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use syn::{Attribute, Item, Meta, UseTree};

/// The arrows from each file.
type Arrows = BTreeMap<PathBuf, BTreeSet<PathBuf>>;
type ModulePath = Vec<String>;

/// Fails if files form a circle.
pub(crate) fn check() -> Result<()> {
    let mut arrows = Arrows::new();
    for source in sources()? {
        let roots = ["lib.rs", "main.rs"].map(|name| source.join(name));
        let root = roots.into_iter().find(|file| crate::root().join(file).is_file());
        let root = root.with_context(|| format!("{} has no lib.rs and no main.rs", source.display()))?;
        let files = |file: &Path| fs::read_to_string(crate::root().join(file)).ok();
        arrows.append(&mut Tree::read(&root, &files)?.arrows());
    }
    let circles = circles(&arrows);
    ensure!(circles.is_empty(), "{}", circles.join("\n"));
    Ok(())
}

/// Returns the folders with the sources of our crates, relative to the root.
fn sources() -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from("xtask/src")];
    for product in &crate::products::PRODUCTS {
        let folder = PathBuf::from("crates").join(product.name);
        let entries = crate::root().join(&folder);
        for entry in fs::read_dir(&entries).with_context(|| format!("listing {}", entries.display()))? {
            found.push(folder.join(entry?.file_name()).join("src"));
        }
    }
    found.retain(|source| crate::root().join(source).is_dir());
    found.sort();
    Ok(found)
}

/// Returns the circles, one line for each; one that shares a file with those before it is left out.
fn circles(arrows: &Arrows) -> Vec<String> {
    let mut reported = BTreeSet::new();
    let mut circles = Vec::new();
    for from in arrows.keys() {
        let Some(circle) = path(arrows, from, from) else { continue };
        if circle.iter().all(|file| !reported.contains(file)) {
            let files = circle.iter().map(|file| file.display().to_string());
            circles.push(format!("a circle: {}", files.collect::<Vec<_>>().join(" -> ")));
        }
        reported.extend(circle);
    }
    circles
}

/// Returns the files of a shortest way from one file to another, including both, of at least one arrow.
fn path(arrows: &Arrows, from: &Path, to: &Path) -> Option<Vec<PathBuf>> {
    let mut before: BTreeMap<&Path, &Path> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(file) = open.pop_front() {
        for next in arrows.get(file).into_iter().flatten() {
            if before.contains_key(next.as_path()) {
                continue;
            }
            before.insert(next, file);
            if next == to {
                let mut way = vec![to.to_owned(), file.to_owned()];
                let mut first = file;
                while first != from {
                    first = before.get(first)?;
                    way.push(first.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            open.push_back(next);
        }
    }
    None
}

/// The modules of a crate. Several modules have one path where each system has its own.
#[derive(Default)]
struct Tree {
    modules: BTreeMap<ModulePath, Vec<Module>>,
    /// The path of the module that each file is.
    files: BTreeMap<PathBuf, ModulePath>,
}

/// What a module contains, itself or inside its file.
struct Module {
    file: PathBuf,
    /// The items that it defines.
    names: BTreeSet<String>,
    children: BTreeSet<String>,
    imports: Vec<Import>,
}

/// A path that a module imports, and the name that it gets; `None` stands for all names.
struct Import {
    path: ModulePath,
    name: Option<String>,
}

impl Tree {
    /// Reads the modules from the file of the crate's root on. Modules that only tests have are left out.
    fn read(root: &Path, files: &dyn Fn(&Path) -> Option<String>) -> Result<Self> {
        let mut tree = Self::default();
        let text = files(root).with_context(|| format!("reading {}", root.display()))?;
        tree.add_file(root.to_owned(), &text, &[], files)?;
        Ok(tree)
    }

    fn add_file(
        &mut self,
        file: PathBuf,
        text: &str,
        module: &[String],
        files: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<()> {
        let items = syn::parse_file(text).with_context(|| format!("parsing {}", file.display()))?.items;
        let beside = file.parent().map(Path::to_owned).unwrap_or_default();
        let own = match file.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib" || stem == "main")
        {
            true => beside.clone(),
            false => file.with_extension(""),
        };
        self.files.insert(file.clone(), module.to_vec());
        self.add_module(&file, &items, module, &own, &beside, files)
    }

    fn add_module(
        &mut self,
        file: &Path,
        items: &[Item],
        module: &[String],
        own: &Path,
        beside: &Path,
        files: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<()> {
        let mut added = Module {
            file: file.to_owned(),
            names: BTreeSet::new(),
            children: BTreeSet::new(),
            imports: Vec::new(),
        };
        for item in items {
            match item {
                Item::Use(import) if !is_test(&import.attrs) => {
                    flatten(&import.tree, &mut Vec::new(), &mut added.imports);
                }
                Item::Mod(child) if !is_test(&child.attrs) => {
                    let name = child.ident.to_string();
                    let path = [module, std::slice::from_ref(&name)].concat();
                    if let Some((_, items)) = &child.content {
                        self.add_module(file, items, &path, &own.join(&name), beside, files)?;
                    } else {
                        let named = paths(&child.attrs).into_iter().map(|path| beside.join(path));
                        let usual = [own.join(format!("{name}.rs")), own.join(&name).join("mod.rs")];
                        for candidate in named.chain(usual) {
                            let Some(text) = files(&candidate) else { continue };
                            if !self.files.contains_key(&candidate) {
                                self.add_file(candidate, &text, &path, files)?;
                            }
                        }
                    }
                    added.children.insert(name);
                }
                item => added.names.extend(name_of(item)),
            }
        }
        self.modules.entry(module.to_vec()).or_default().push(added);
        Ok(())
    }

    /// Returns the arrows between files, of which neither is a module that contains the other.
    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (path, module) in
            self.modules.iter().flat_map(|(path, all)| all.iter().map(move |each| (path, each)))
        {
            for import in &module.imports {
                let Some(target) = self.absolute(&import.path, path, module) else { continue };
                for to in self.files_of(&module.file, &target) {
                    if !self.contains(&module.file, &to) && !self.contains(&to, &module.file) {
                        arrows.entry(module.file.clone()).or_default().insert(to);
                    }
                }
            }
        }
        arrows
    }

    fn contains(&self, outer: &Path, inner: &Path) -> bool {
        match (self.files.get(outer), self.files.get(inner)) {
            (Some(outer), Some(inner)) => inner.starts_with(outer),
            _ => false,
        }
    }

    /// Returns an imported path from the root of the crate; `None` if it is of another crate.
    fn absolute(&self, path: &[String], from: &[String], module: &Module) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([from, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                let base = from.get(..from.len().checked_sub(ups)?)?;
                Some([base, path.get(ups..)?].concat())
            }
            name => module.children.contains(name).then(|| [from, path].concat()),
        }
    }

    /// Returns the files that have the item of this path, or the module itself if no item is found.
    fn files_of(&self, from: &Path, path: &[String]) -> BTreeSet<PathBuf> {
        let found = self.definitions(from, path, &mut BTreeSet::new());
        if !found.is_empty() {
            return found;
        }
        let module = (0..=path.len()).rev().find_map(|length| self.modules.get(path.get(..length)?));
        module.and_then(|all| nearest(from, all)).map(|module| module.file.clone()).into_iter().collect()
    }

    /// Follows re-exports; returns nothing if the item is not found.
    fn definitions(
        &self,
        from: &Path,
        path: &[String],
        seen: &mut BTreeSet<(PathBuf, ModulePath)>,
    ) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        if !seen.insert((from.to_owned(), path.to_vec())) {
            return found;
        }
        let lengths = (0..=path.len()).rev();
        let longest =
            lengths.filter_map(|length| Some((length, self.modules.get(path.get(..length)?)?))).next();
        let Some((length, modules)) = longest else { return found };
        let Some(module) = nearest(from, modules) else { return found };
        let (outer, inner) = path.split_at(length);
        let Some((name, rest)) = inner.split_first() else { return BTreeSet::from([module.file.clone()]) };
        if module.names.contains(name) {
            return BTreeSet::from([module.file.clone()]);
        }
        for import in &module.imports {
            let Some(target) = self.absolute(&import.path, outer, module) else { continue };
            match &import.name {
                Some(bound) if bound == name => {
                    found.append(&mut self.definitions(&module.file, &[&target, rest].concat(), seen));
                }
                None => found.append(&mut self.definitions(&module.file, &[&target, inner].concat(), seen)),
                Some(_) => {}
            }
        }
        found
    }
}

/// Returns the module whose file shares the most folders with this one: that of the same system.
fn nearest<'a>(from: &Path, modules: &'a [Module]) -> Option<&'a Module> {
    let shared = |module: &&Module| {
        let folders = module.file.parent().into_iter().flat_map(Path::components);
        folders.zip(from.components()).take_while(|(one, other)| one == other).count()
    };
    // The first of equals, where `max_by_key` returns the last.
    modules.iter().rev().max_by_key(shared)
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// Returns the values of `path = "…"`, also inside `cfg_attr`.
fn paths(attributes: &[Attribute]) -> Vec<String> {
    let texts = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            let tokens = list.tokens.to_string();
            let (_, value) = tokens.split_once("path = \"")?;
            value.split_once('"').map(|(path, _)| path.to_owned())
        }
        _ => None,
    });
    texts.collect()
}

fn flatten(tree: &UseTree, prefix: &mut ModulePath, imports: &mut Vec<Import>) {
    match tree {
        UseTree::Path(step) => {
            prefix.push(step.ident.to_string());
            flatten(&step.tree, prefix, imports);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|each| flatten(each, prefix, imports)),
        UseTree::Glob(_) => imports.push(Import { path: prefix.clone(), name: None }),
        UseTree::Name(_) | UseTree::Rename(_) => {
            let (name, bound) = match tree {
                UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
                UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
                _ => return,
            };
            let (path, bound) = match name == "self" && !prefix.is_empty() {
                true => (
                    prefix.clone(),
                    if bound == name { prefix.last().cloned().unwrap_or(bound) } else { bound },
                ),
                false => ([prefix.as_slice(), &[name]].concat(), bound),
            };
            imports.push(Import { path, name: Some(bound) });
        }
    }
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let files: BTreeMap<_, _> = files.iter().map(|(file, text)| (PathBuf::from(file), *text)).collect();
        let read = |file: &Path| files.get(file).map(|text| (*text).to_owned());
        let tree = Tree::read(Path::new("lib.rs"), &read).unwrap();
        circles(&tree.arrows())
    }

    const ROOT: (&str, &str) = ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;");

    #[test]
    fn circle_through_a_re_export_is_found() {
        let files =
            [ROOT, ("a.rs", "use crate::B; pub struct A;"), ("b.rs", "use crate::a::A; pub struct B;")];
        assert_eq!(circles_of(&files), ["a circle: a.rs -> b.rs -> a.rs"]);
    }

    #[test]
    fn arrows_in_one_direction_are_no_circle() {
        let files = [ROOT, ("a.rs", "use crate::B; pub struct A;"), ("b.rs", "pub struct B;")];
        assert_eq!(circles_of(&files), [""; 0]);
    }

    #[test]
    fn module_and_its_parent_may_import_each_other() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod inner; use inner::Inner; pub struct A;"),
            ("a/inner.rs", "use super::A; pub struct Inner;"),
        ];
        assert_eq!(circles_of(&files), [""; 0]);
    }

    #[test]
    fn imports_of_tests_are_left_out() {
        let files = [
            ROOT,
            ("a.rs", "use crate::B; pub struct A;"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::A; }"),
        ];
        assert_eq!(circles_of(&files), [""; 0]);
    }

    #[test]
    fn system_imports_its_own_module_of_two_with_one_path() {
        let files = [
            (
                "lib.rs",
                "#[cfg(unix)] #[path = \"one/mod.rs\"] mod platform; #[cfg(windows)] #[path = \"two/mod.rs\"] mod platform;",
            ),
            ("one/mod.rs", "mod a; mod b;"),
            ("one/a.rs", "use super::b::B; pub struct A;"),
            ("one/b.rs", "pub struct B;"),
            ("two/mod.rs", "mod a; mod b;"),
            ("two/a.rs", "pub struct A;"),
            ("two/b.rs", "use super::a::A; pub struct B;"),
        ];
        assert_eq!(circles_of(&files), [""; 0]);
    }
}
