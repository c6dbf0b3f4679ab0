//! The files beside a program that hold its debug information: a separate debug file, a package of
//! split DWARF, single `.dwo` files, and what several debug files have in common (`dwz`).
//!
//! They are looked for, in this order: by build id where distributions install them, on the host and
//! then below the root of the process that maps the program; by the name that the program gives
//! (`.gnu_debuglink`), below that root and then on the host. `docs/symbols.md` has the places.
//!
//! The program says what it likes, and so do the folders of its owner. So a candidate is a regular file
//! whose build id is the program's (or whose checksum is the one that the program names, where it has
//! no build id); beside the program, and below a root that is not the host's, it belongs to root or to
//! the program's owner; and beside the program no link is followed to it. What is found and refused is told. Nothing is read here but by [`Examine`].

mod candidates;
mod debuginfod;
mod refusal;

use std::{
    ffi::OsStr,
    fmt,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use symbolizer::{DebugLink, Description};

use crate::{roots::Root, worker::Workers};
use candidates::{Place, by_build_id, by_link, common, package, split_unit};
pub use debuginfod::Debuginfod;
use refusal::open;
pub use refusal::{Refusal, Refused};

/// Reads ELF files, in this process or in another one.
pub trait Examine: fmt::Debug + Sync {
    /// What a file says of itself; `None` where it is no ELF file that can be read.
    fn describe(&self, file: &File) -> Option<Description>;
    /// The CRC-32 of a whole file.
    fn crc32(&self, file: &File) -> Option<u32>;
}

impl Examine for Workers {
    fn describe(&self, file: &File) -> Option<Description> {
        Self::describe(self, file).ok()
    }

    fn crc32(&self, file: &File) -> Option<u32> {
        self.checksum(file)
    }
}

/// A program or library whose debug files are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The file itself.
    pub file: &'a File,
    /// What it says of itself.
    pub description: &'a Description,
    /// Where the process that maps it has it.
    pub path: &'a Path,
    /// The root of that process, where it is known and not our own.
    pub root: Option<&'a Root>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct DebugFiles {
    /// The separate debug file, and what it says of itself.
    pub debug: Option<(File, Description)>,
    /// What that file has in common with others.
    pub common: Option<File>,
    /// The package of its split DWARF.
    pub package: Option<File>,
    /// What was there and is not used.
    pub refused: Vec<Refused>,
}

/// Looks for debug files.
#[derive(Debug)]
pub struct Finder<'a> {
    host: Option<Root>,
    examine: &'a dyn Examine,
    debuginfod: Option<Mutex<Debuginfod>>,
}

impl<'a> Finder<'a> {
    /// Looks on the host's disks, and asks servers where that is wanted.
    #[must_use]
    pub fn new(examine: &'a dyn Examine, debuginfod: Option<Debuginfod>) -> Self {
        Self {
            host: Root::own().ok(),
            examine,
            debuginfod: debuginfod.map(Mutex::new),
        }
    }

    /// All that belongs to a file.
    pub fn find(&self, subject: &Subject<'_>) -> DebugFiles {
        let mut found = DebugFiles::default();
        let Description {
            build_id,
            debug_link,
            ..
        } = subject.description;
        let mut places = Vec::new();
        if let Some(id) = build_id {
            places.extend(by_build_id(id));
        }
        if let Some(link) = debug_link {
            match by_link(&link.name, subject.path) {
                Ok(linked) => places.extend(linked),
                Err(why) => found.refuse(Path::new(OsStr::from_bytes(&link.name)), why),
            }
        }
        let matches = |file: &File| self.is_debug_file_of(subject, debug_link.as_ref(), file);
        let debug = self.first(subject, &places, &mut found.refused, matches);
        found.debug = debug.map(|(_, file, description)| (file, description));
        if found.debug.is_none() {
            found.debug = self.ask_server(subject.description);
        }
        let alt_link = found
            .debug
            .as_ref()
            .map_or(subject.description, |(_, debug)| debug);
        if let Some(alt_link) = &alt_link.alt_link {
            let matches = |file: &File| self.has_build_id(file, &alt_link.build_id);
            let places = common(alt_link, subject.path);
            found.common = self
                .first(subject, &places, &mut found.refused, matches)
                .map(|(_, file, _)| file);
        }
        let is_split = |(_, debug): &(File, Description)| debug.may_be_split;
        if subject.description.may_be_split || found.debug.as_ref().is_some_and(is_split) {
            let matches = |file: &File| self.package(file);
            found.package = self
                .first(subject, &package(subject.path), &mut found.refused, matches)
                .map(|(_, file, _)| file);
        }
        found
    }

    /// A file of split DWARF, by what the DWARF of a program calls it and the folder that it was
    /// compiled in. Whether it belongs to the program is for its reader to see, by the id in both.
    ///
    /// # Errors
    /// Where there is none, with the reason where one is there and refused.
    pub fn split_unit(
        &self,
        subject: &Subject<'_>,
        folder: &[u8],
        name: &[u8],
    ) -> Result<File, Option<Refused>> {
        let mut refused = Vec::new();
        let places = split_unit(folder, name, subject.path).map_err(|why| {
            let path = PathBuf::from(OsStr::from_bytes(name));
            Some(Refused { path, why })
        })?;
        let matches = |file: &File| self.describe(file);
        let found = self.first(subject, &places, &mut refused, matches);
        found.map(|(_, file, _)| file).ok_or_else(|| refused.pop())
    }

    /// The first of the places that has what is looked for.
    fn first(
        &self,
        subject: &Subject<'_>,
        places: &[Place],
        refused: &mut Vec<Refused>,
        matches: impl Fn(&File) -> Result<Description, Refusal>,
    ) -> Option<(PathBuf, File, Description)> {
        for place in places {
            for root in self.roots(subject, place) {
                let is_host = self.is_host(root);
                let looked = open(root, is_host, place, subject.file).and_then(|file| {
                    let file = file.ok_or(None)?;
                    let description = matches(&file).map_err(Some)?;
                    Ok((place.path.clone(), file, description))
                });
                match looked {
                    Ok(found) => return Some(found),
                    Err(Some(why)) => refused.push(Refused {
                        path: place.path.clone(),
                        why,
                    }),
                    Err(None) => {}
                }
            }
        }
        None
    }

    /// Below which roots to look for a place, in order.
    fn roots<'s>(&'s self, subject: &Subject<'s>, place: &Place) -> Vec<&'s Root> {
        let host = self.host.as_ref();
        let inside = subject.root.filter(|root| !self.is_host(root));
        let order = match place.is_installed {
            true => [host, inside],
            false => [inside, host],
        };
        order.into_iter().flatten().collect()
    }

    /// Whether a root is our own.
    fn is_host(&self, root: &Root) -> bool {
        self.host.as_ref().is_some_and(|host| host.is_same(root))
    }

    fn describe(&self, file: &File) -> Result<Description, Refusal> {
        self.examine.describe(file).ok_or(Refusal::NotElf)
    }

    fn has_build_id(&self, file: &File, wanted: &[u8]) -> Result<Description, Refusal> {
        let description = self.describe(file)?;
        match description.build_id.as_deref() == Some(wanted) {
            true => Ok(description),
            false => Err(Refusal::OtherBuildId),
        }
    }

    fn package(&self, file: &File) -> Result<Description, Refusal> {
        let description = self.describe(file)?;
        match description.is_package {
            true => Ok(description),
            false => Err(Refusal::Empty),
        }
    }

    fn is_debug_file_of(
        &self,
        subject: &Subject<'_>,
        link: Option<&DebugLink>,
        file: &File,
    ) -> Result<Description, Refusal> {
        let description = match (&subject.description.build_id, link) {
            (Some(id), _) => self.has_build_id(file, id)?,
            (None, Some(link)) if self.examine.crc32(file) == Some(link.crc32) => {
                self.describe(file)?
            }
            (None, _) => return Err(Refusal::OtherChecksum),
        };
        match description.has_symtab || description.has_dwarf {
            true => Ok(description),
            false => Err(Refusal::Empty),
        }
    }

    /// From a server, for a file that has nothing to name its functions with.
    fn ask_server(&self, description: &Description) -> Option<(File, Description)> {
        if description.has_symtab || description.has_dwarf {
            return None;
        }
        let id = description.build_id.as_ref()?;
        let file = self.servers()?.find(id)?;
        let description = self.has_build_id(&file, id).ok()?;
        Some((file, description))
    }

    /// Whether servers are asked.
    #[must_use]
    pub const fn asks_servers(&self) -> bool {
        self.debuginfod.is_some()
    }

    /// What went wrong with servers, in words.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let servers = self.servers();
        servers.map_or_else(Vec::new, |servers| servers.complaints().to_vec())
    }

    fn servers(&self) -> Option<MutexGuard<'_, Debuginfod>> {
        let servers = self.debuginfod.as_ref()?;
        Some(servers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl DebugFiles {
    fn refuse(&mut self, path: &Path, why: Refusal) {
        self.refused.push(Refused {
            path: path.to_owned(),
            why,
        });
    }
}
