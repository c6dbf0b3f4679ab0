//! Tables that hold each value once and hand out a small number for it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

/// The number of a value in its table.
pub(crate) trait Handle: Copy {
    /// The handle of the value at `index`.
    fn from_index(index: usize) -> Self;
    /// Where the value is.
    fn index(self) -> usize;
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        ///
        /// Good for the profile that gave it; in another it may name something else or panic.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(u32);

        impl Handle for $name {
            fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).expect("memory ends before 2^32 interned values"))
            }

            fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

handles! {
    /// A string of a profile.
    StringId,
    /// A mapping of a profile.
    MappingId,
    /// A function of a profile.
    FunctionId,
    /// A frame of a profile.
    FrameId,
    /// A stack of a profile.
    StackId,
}

/// Values by handle and handles by value, numbered in the order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Table<H, T> {
    items: Vec<T>,
    handles: HashMap<T, H, RandomState>,
}

impl<H, T> Default for Table<H, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            handles: HashMap::default(),
        }
    }
}

impl<H: Handle, T: Clone + Eq + Hash> Table<H, T> {
    pub(crate) fn find<Q: Eq + Hash + ?Sized>(&self, item: &Q) -> Option<H>
    where
        T: Borrow<Q>,
    {
        self.handles.get(item).copied()
    }

    pub(crate) fn intern(&mut self, item: T) -> H {
        if let Some(handle) = self.find(&item) {
            return handle;
        }
        let handle = H::from_index(self.items.len());
        self.items.push(item.clone());
        self.handles.insert(item, handle);
        handle
    }

    pub(crate) fn get(&self, handle: H) -> &T {
        &self.items[handle.index()]
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (H, &T)> {
        let numbered = self.items.iter().enumerate();
        numbered.map(|(index, item)| (H::from_index(index), item))
    }
}
