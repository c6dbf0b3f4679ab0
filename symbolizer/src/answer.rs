//! From what blazesym returns to what this crate answers.

use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use blazesym::ErrorKind;
use blazesym::symbolize::source::Source;
use blazesym::symbolize::{Input, Reason, Symbolized, Symbolizer};

use crate::{Function, Miss, Symbol};

/// One symbol or reason per offset or address.
pub(crate) type Answers = Vec<Result<Symbol, Miss>>;

/// A symbol, and the link-time addresses of what it names.
pub(crate) type Extended = (Result<Symbol, Miss>, Option<Range<u64>>);

/// Asks blazesym. An error that costs the batch becomes the answer for each of it.
pub(crate) fn ask(symbolizer: &Symbolizer, source: &Source, input: Input<&[u64]>) -> Vec<Extended> {
    let count = input.into_inner().len();
    // blazesym 0.2.7 panics on some damaged files. The symbolizer of a file is dropped after the
    // call, so that nothing sees what a panic left half done.
    let result = catch_unwind(AssertUnwindSafe(|| symbolizer.symbolize(source, input)));
    match result {
        Ok(Ok(symbolized)) => answers(symbolized),
        Ok(Err(error)) => vec![(Err(batch_miss(error.kind())), None); count],
        Err(_panic) => vec![(Err(Miss::ParserPanicked), None); count],
    }
}

/// Answers each distinct number once, in ascending order, and returns the answers in the order of
/// `numbers`.
pub(crate) fn each_once<T: Clone>(
    numbers: &[u64],
    resolve: impl FnOnce(&[u64]) -> Vec<T>,
) -> Vec<T> {
    let mut distinct = numbers.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let answers = resolve(&distinct);
    numbers
        .iter()
        .map(|number| answers[distinct.partition_point(|other| other < number)].clone())
        .collect()
}

/// The answers for numbers in ascending order. Those of one function stand together, and its name, which
/// takes longer to put into words than to find, is put into words once.
fn answers(symbolized: Vec<Symbolized<'_>>) -> Vec<Extended> {
    let mut last: Option<(Cow<'_, str>, Function)> = None;
    let answer = |symbolized| answer(symbolized, &mut last);
    symbolized.into_iter().map(answer).collect()
}

fn answer<'s>(symbolized: Symbolized<'s>, last: &mut Option<(Cow<'s, str>, Function)>) -> Extended {
    match symbolized {
        Symbolized::Sym(sym) if sym.name.is_empty() => (Err(Miss::NotCovered), None),
        Symbolized::Sym(sym) => {
            // Without a size a symbol goes on to the next one, as far as blazesym knows.
            let size = sym.size.filter(|&size| size > 0);
            let size = size.and_then(|size| u64::try_from(size).ok());
            let end = size.and_then(|size| sym.addr.checked_add(size));
            let function = match last {
                Some((name, function)) if *name == sym.name => function.clone(),
                _ => Function::new(&sym.name, None),
            };
            *last = Some((sym.name, function.clone()));
            let functions = vec![function];
            (Ok(Symbol { functions }), end.map(|end| sym.addr..end))
        }
        Symbolized::Unknown(reason) => (Err(miss(reason)), None),
    }
}

fn miss(reason: Reason) -> Miss {
    match reason {
        Reason::MissingSyms => Miss::NoSymbols,
        Reason::InvalidFileOffset => Miss::InvalidOffset,
        Reason::IgnoredError => Miss::Malformed,
        _ => Miss::NotCovered,
    }
}

fn batch_miss(kind: ErrorKind) -> Miss {
    match kind {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Miss::Unreadable,
        ErrorKind::Unsupported => Miss::ForeignElf,
        _ => Miss::Malformed,
    }
}
