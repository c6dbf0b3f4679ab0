//! Names as they are written.

use std::{collections::HashMap, ops::Range};

use serde::{Deserialize, Serialize};
use symbolizer::{Detail, Function, Miss, SourceLine, Symbol};

use super::{Key, Known, Places};

/// As it is written: each text and each symbol once.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    /// What the names rest on, as the key has it.
    pub(super) rests_on: Vec<u64>,
    texts: Vec<String>,
    symbols: Vec<Vec<StoredFunction>>,
    places: Vec<StoredPlace>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredPlace {
    offset: u64,
    detail: Detail,
    answer: Result<u32, Miss>,
    function: Option<Range<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct StoredFunction {
    name: u32,
    system_name: u32,
    source: Option<(u32, u32)>,
}

impl Stored {
    pub(super) fn of(key: &Key, known: &Places) -> Self {
        let mut stored = Stored {
            rests_on: key.rests_on.clone(),
            ..Self::default()
        };
        let mut texts = HashMap::new();
        let mut symbols = HashMap::new();
        for (&offset, known) in &known.places {
            let answer = match &known.answer {
                Ok(symbol) => {
                    let functions = symbol.functions.iter();
                    let functions: Vec<_> = functions
                        .map(|function| stored.function(&mut texts, function))
                        .collect();
                    Ok(interned(&mut symbols, &mut stored.symbols, functions))
                }
                // The others may be otherwise the next time.
                Err(miss @ (Miss::NoSymbols | Miss::NotCovered | Miss::InvalidOffset)) => {
                    Err(*miss)
                }
                Err(_) => continue,
            };
            stored.places.push(StoredPlace {
                offset,
                detail: known.detail,
                answer,
                function: known.function.clone(),
            });
        }
        stored
    }

    fn function(
        &mut self,
        texts: &mut HashMap<String, u32>,
        function: &Function,
    ) -> StoredFunction {
        let mut text = |text: &String| interned(texts, &mut self.texts, text.clone());
        StoredFunction {
            name: text(&function.name),
            system_name: text(&function.system_name),
            source: function
                .source
                .as_ref()
                .map(|source| (text(&source.file), source.line)),
        }
    }

    /// `None` where a number names nothing.
    pub(super) fn known(&self) -> Option<Places> {
        let text = |number: u32| self.texts.get(number as usize).cloned();
        let function = |stored: &StoredFunction| {
            let source = match stored.source {
                Some((file, line)) => Some(SourceLine {
                    file: text(file)?,
                    line,
                }),
                None => None,
            };
            Some(Function {
                name: text(stored.name)?,
                system_name: text(stored.system_name)?,
                source,
            })
        };
        let symbol = |number: u32| {
            let functions = self.symbols.get(number as usize)?.iter().map(function);
            let functions: Vec<_> = functions.collect::<Option<_>>()?;
            (!functions.is_empty()).then_some(Symbol { functions })
        };
        let mut known = Places::default();
        for place in &self.places {
            let answer = match place.answer {
                Ok(number) => Ok(symbol(number)?),
                Err(miss) => Err(miss),
            };
            let (detail, function) = (place.detail, place.function.clone());
            known.add(
                place.offset,
                Known {
                    detail,
                    answer,
                    function,
                },
            );
        }
        Some(known)
    }
}

fn interned<T: Clone + Eq + std::hash::Hash>(
    numbers: &mut HashMap<T, u32>,
    all: &mut Vec<T>,
    value: T,
) -> u32 {
    let next = all.len() as u32;
    *numbers.entry(value).or_insert_with_key(|value| {
        all.push(value.clone());
        next
    })
}
