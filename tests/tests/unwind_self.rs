//! Files, rows, pages, search and step together: this process walks its own stack, and so does the
//! unwinder that exceptions use; both must find the same return addresses.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    arch::asm,
    cell::RefCell,
    collections::HashMap,
    ffi::{c_int, c_void},
    fs::{self, File},
};

use abi::{
    reasons::StackEnd,
    unwind::{
        Caller, Machine, Registers, Rule, step,
        table::{PAGE_BITS, find},
    },
};
use profiler::unwind::{
    file,
    pages::{self, Pages},
    rows::FileRows,
    rules::RuleSet,
};

/// A piece of a file in this process's memory.
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    path: String,
}

/// The tables of the files that this process has mapped.
struct Tables {
    mappings: Vec<Mapping>,
    pages: HashMap<String, Pages>,
    rules: RuleSet,
}

impl Tables {
    fn of_this_process() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mappings: Vec<Mapping> = maps.lines().filter_map(mapping).collect();
        let mut rules = RuleSet::default();
        let mut tables = HashMap::new();
        for mapping in &mappings {
            if !tables.contains_key(&mapping.path) {
                let found = file::read(&File::open(&mapping.path).unwrap()).unwrap();
                if let FileRows::Rows(table, _) = found {
                    tables.insert(mapping.path.clone(), pages::build(&table, &mut rules));
                }
            }
        }
        Tables {
            mappings,
            pages: tables,
            rules,
        }
    }

    /// The rule for an address, by the search that the kernel runs.
    fn rule(&self, address: u64) -> Rule {
        let inside = |mapping: &&Mapping| (mapping.start..mapping.end).contains(&address);
        let Some(mapping) = self.mappings.iter().find(inside) else {
            return Rule::NONE;
        };
        let offset = address - mapping.start + mapping.offset;
        let pages = &self.pages[&mapping.path];
        let entry = pages.entry((offset >> PAGE_BITS) as u32);
        let number = find(entry, offset as u16, |block| {
            pages.blocks.get(block as usize)
        });
        self.rules.rules()[usize::from(number.unwrap())]
    }

    /// The return addresses from a frame of this thread on, and why there are no more.
    fn walk(&self, registers: Registers) -> (Vec<u64>, StackEnd) {
        let mut at = Caller {
            registers,
            is_return: false,
        };
        let mut addresses = Vec::new();
        loop {
            let rule = self.rule(at.registers.pc - u64::from(at.is_return));
            match step(&Machine::NATIVE, &at.registers, &rule, |_| None, read) {
                Ok(caller) => at = caller,
                Err(end) => return (addresses, end),
            }
            addresses.push(at.registers.pc);
        }
    }
}

/// An executable mapping of a file, from a line such as `start-end r-xp offset dev inode path`.
fn mapping(line: &str) -> Option<Mapping> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let path = words.get(5).filter(|path| path.starts_with('/'))?;
    let (start, end) = words[0].split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).unwrap();
    words[1].contains('x').then(|| Mapping {
        start: hex(start),
        end: hex(end),
        offset: hex(words[2]),
        path: (*path).to_owned(),
    })
}

/// Two words of this thread's stack.
fn read(address: u64) -> Option<[u64; 2]> {
    // SAFETY: the addresses come from rows that are right, or the test fails in this way.
    Some(unsafe { (address as *const [u64; 2]).read_unaligned() })
}

/// The registers of the function that this is put into.
#[inline(always)]
fn registers_here() -> Registers {
    let (pc, sp, fp): (u64, u64, u64);
    // SAFETY: three registers are read, and none is changed.
    unsafe {
        asm!(
            "lea {pc}, [rip]", "mov {sp}, rsp", "mov {fp}, rbp",
            pc = out(reg) pc, sp = out(reg) sp, fp = out(reg) fp,
            options(nomem, nostack, preserves_flags),
        );
    }
    let followed_at = Registers::UNKNOWN;
    Registers {
        pc,
        sp,
        fp,
        followed_at,
    }
}

type Trace = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn _Unwind_Backtrace(trace: Trace, addresses: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

extern "C" fn trace(context: *mut c_void, addresses: *mut c_void) -> c_int {
    // SAFETY: the unwinder passes a context of its own and the vector that it was given.
    unsafe { (*addresses.cast::<Vec<u64>>()).push(_Unwind_GetIP(context) as u64) };
    0
}

/// Walks this thread's stack both ways and says whether they agree. The reference begins in this
/// function's own frame, and ends with a frame at 0.
#[inline(never)]
fn compare(tables: &Tables) -> usize {
    let (addresses, end) = tables.walk(registers_here());
    let mut expected = Vec::<u64>::new();
    // SAFETY: the callback takes what is passed for it.
    unsafe { _Unwind_Backtrace(trace, (&raw mut expected).cast()) };
    expected.retain(|address| *address != 0);
    assert_eq!(end, StackEnd::Outermost, "{addresses:x?}\n{expected:x?}");
    assert_eq!(addresses, expected[1..]);
    addresses.len()
}

fn deep(tables: &Tables, depth: usize) -> usize {
    match depth {
        0 => compare(tables),
        _ => std::hint::black_box(deep(tables, depth - 1)),
    }
}

thread_local! {
    static TABLES: RefCell<Option<Tables>> = const { RefCell::new(None) };
    static FRAMES: RefCell<usize> = const { RefCell::new(0) };
}

fn compare_here() {
    let frames = TABLES.with_borrow(|tables| compare(tables.as_ref().unwrap()));
    FRAMES.with_borrow_mut(|most| *most = frames.max(*most));
}

/// Sees to it that code called back by the C library finds the tables, and gives how deep it was.
fn with_tables(call: impl FnOnce()) -> usize {
    TABLES.set(Some(Tables::of_this_process()));
    call();
    FRAMES.take()
}

extern "C" fn on_signal(_signal: c_int) {
    compare_here();
}

extern "C" fn order(_left: *const c_void, _right: *const c_void) -> c_int {
    compare_here();
    0
}

/// A deep recursion is walked to the thread's first frame.
#[test]
fn a_deep_stack_is_whole() {
    let tables = Tables::of_this_process();
    assert!(deep(&tables, 300) > 300);
}

/// A walk from a signal's handler leads through the signal to the code that it interrupted.
#[test]
fn a_walk_leads_through_a_signal() {
    let frames = with_tables(|| {
        // SAFETY: the handler touches only what this thread, which raises the signal, has.
        unsafe {
            libc::signal(libc::SIGUSR1, on_signal as *const () as usize);
            libc::raise(libc::SIGUSR1);
        }
    });
    assert!(frames > 5, "{frames} frames");
}

/// A walk from a function that the C library calls leads through the library's own frames.
#[test]
fn a_walk_leads_through_the_c_library() {
    let mut numbers = [3_u64; 64];
    let frames = with_tables(|| {
        // SAFETY: the array has 64 words, and the order leaves them alone.
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 64, 8, Some(order)) };
    });
    assert!(frames > 8, "{frames} frames");
}
