//! The walk up the user stack: frame by frame, by the row of the file's unwind table where there is
//! one, else by frame pointer.

use abi::{
    MAX_USER_FRAMES,
    reasons::{Miss, StackEnd},
    records::{UserFrame, file},
    samples::StackHash,
    tables::table,
    unwind::{
        Registers, Rule, step,
        table::{PAGE_BITS, find, rule_number},
    },
};
use aya_ebpf::{
    bindings::task_struct,
    helpers::generated::{self, bpf_loop},
};
use core::ffi::c_void;

use crate::{
    mapping::{self, Place},
    maps::{
        BLOCKS, LEAF_REGISTERS, PAGES, REMEMBERED_RULES, RULES, RememberedRule, Scratch, TABLES,
        WINDOW_WORDS, control, counters, slot,
    },
    registers::{self, MACHINE},
};

/// Whose memory the stack is in.
pub(crate) trait Memory: Copy {
    /// Whether it is noted what the walk rests on.
    const IS_NOTED: bool = false;

    /// Reads user memory, and tells whether that went well.
    fn read(self, into: *mut c_void, bytes: u32, address: u64) -> bool;
}

/// The memory of the running thread.
#[derive(Clone, Copy)]
pub(crate) struct Own;

impl Memory for Own {
    #[inline(always)]
    fn read(self, into: *mut c_void, bytes: u32, address: u64) -> bool {
        // SAFETY: the callers give the room that they have; the helper checks the address.
        unsafe { generated::bpf_probe_read_user(into, bytes, address as *const c_void) == 0 }
    }
}

/// The memory of the running thread, for a walk that may be saved the next time.
#[derive(Clone, Copy)]
pub(crate) struct Noted;

impl Memory for Noted {
    const IS_NOTED: bool = true;

    #[inline(always)]
    fn read(self, into: *mut c_void, bytes: u32, address: u64) -> bool {
        Own.read(into, bytes, address)
    }
}

/// The memory of another thread. Only programs that may sleep can read it.
#[derive(Clone, Copy)]
pub(crate) struct OfTask(pub(crate) *mut task_struct);

impl Memory for OfTask {
    #[inline(always)]
    fn read(self, into: *mut c_void, bytes: u32, address: u64) -> bool {
        let from = address as *const c_void;
        // SAFETY: as above; the verifier sees to it that the task is one.
        unsafe { generated::bpf_copy_from_user_task(into, bytes, from, self.0, 0) == 0 }
    }
}

/// What the loop over frames is given.
struct Walk<M> {
    scratch: *mut Scratch,
    memory: M,
}

/// Walks from `leaf` and leaves frames, end and hash in scratch.
#[inline(always)]
pub(crate) fn walk<M: Memory>(scratch: &mut Scratch, leaf: Registers, memory: M) {
    keep_rules(scratch);
    scratch.registers = leaf;
    scratch.is_return = 0;
    scratch.is_leaf = 1;
    scratch.window_start = 0;
    scratch.end = StackEnd::Truncated as u32;
    if M::IS_NOTED {
        scratch.trail.begin();
    }
    let mut context = Walk { scratch, memory };
    // SAFETY: the callback has the signature that `bpf_loop` asks for, and its context points to
    // the scratch: handed over in this way, the compiler knows that the loop changes it.
    unsafe {
        bpf_loop(
            MAX_USER_FRAMES as u32,
            next_frame::<M> as *mut c_void,
            (&raw mut context).cast::<c_void>(),
            0,
        );
    }
}

/// Stores the frame that was reached and goes on to its caller; 1 ends the loop.
unsafe extern "C" fn next_frame<M: Memory>(_index: u32, context: *mut c_void) -> i64 {
    // SAFETY: `walk` passes a pointer to the scratch that its sample holds.
    let (scratch, memory) = unsafe {
        let walk = &*context.cast::<Walk<M>>();
        (&mut *walk.scratch, walk.memory)
    };
    match go_on(scratch, memory) {
        Ok(()) => 0,
        Err(end) => {
            scratch.end = end as u32;
            1
        }
    }
}

#[inline(always)]
fn go_on<M: Memory>(scratch: &mut Scratch, memory: M) -> Result<(), StackEnd> {
    // The mapping is that of the call, which may be the last instruction before the next mapping.
    let address = scratch
        .registers
        .pc
        .wrapping_sub(u64::from(scratch.is_return));
    let place = mapping::locate(scratch, address);
    if place.file == file::NO_MAPPING {
        if scratch.is_leaf == 0 {
            // What led to an address without memory was no frame.
            return Err(StackEnd::NoFramePointer);
        }
        if scratch.key.kernel != StackHash::NONE {
            // In the midst of `exec` the memory is new and the saved registers are the old ones.
            return Err(StackEnd::NoUserStack);
        }
    }
    store(scratch, &place);
    let shared = &raw mut *scratch;
    let rule = rule(scratch, &place)?;
    // SAFETY: the rule is not changed during the step.
    let registers = unsafe { (*shared).registers };
    let leaf = |register: u8| {
        // SAFETY: nothing else uses the scratch during the step.
        let scratch = unsafe { &*shared };
        let value = scratch.leaf[usize::from(register) & (LEAF_REGISTERS - 1)];
        (scratch.is_leaf != 0 || register == MACHINE.followed).then_some(value)
    };
    // SAFETY: as above.
    let read = |address: u64| words(unsafe { &mut *shared }, memory, address);
    let caller = step(&MACHINE, &registers, rule, leaf, read);
    if M::IS_NOTED {
        // SAFETY: as above.
        let trail = unsafe { &mut (*shared).trail };
        match &caller {
            Ok(caller) => trail.went(rule, &registers, &caller.registers),
            Err(_) => trail.ended(rule, &registers),
        }
    }
    let caller = caller?;
    scratch.registers = caller.registers;
    scratch.registers.pc = registers::code(caller.registers.pc);
    scratch.is_return = u32::from(caller.is_return);
    scratch.is_leaf = 0;
    Ok(())
}

/// How to get from a place in the code to its caller.
#[inline(always)]
fn rule<'a>(scratch: &'a mut Scratch, place: &Place) -> Result<&'a Rule, StackEnd> {
    match place.table {
        table::MISSING => Err(StackEnd::TableMissing),
        table::BY_FRAME_POINTER => {
            let number = u32::from(rule_number::FRAME_POINTER);
            RULES.get(number).ok_or(StackEnd::NoUnwindRow)
        }
        number => remembered_rule(scratch, number, place.offset),
    }
}

/// The rule for an offset in a file, without a search where the last one at this place still holds.
/// Stacks of one program share most of their frames, and a search touches some six cache lines.
#[inline(always)]
fn remembered_rule(scratch: &mut Scratch, number: u32, offset: u64) -> Result<&Rule, StackEnd> {
    let slot = slot(offset as u32 ^ number << 20, REMEMBERED_RULES);
    let known = &scratch.rules[slot];
    if (known.offset != offset as u32 || known.table != number)
        && !remember_rule(&mut scratch.rules[slot], number, offset)
    {
        return Err(StackEnd::NoUnwindRow);
    }
    Ok(&scratch.rules[slot].rule)
}

/// Searches a table; whether it has a row.
#[inline(never)]
fn remember_rule(known: &mut RememberedRule, number: u32, offset: u64) -> bool {
    let rule = row_rule(number, offset).and_then(|rule| RULES.get(u32::from(rule)));
    if let Some(rule) = rule {
        *known = RememberedRule {
            offset: offset as u32,
            table: number,
            rule: *rule,
        };
    }
    rule.is_some()
}

/// Forgets the rules that were remembered before a table was withdrawn.
#[inline(always)]
fn keep_rules(scratch: &mut Scratch) {
    let version = control().tables_version;
    if scratch.rules_version != version {
        scratch.rules_version = version;
        for known in &mut scratch.rules {
            known.table = 0;
        }
    }
}

/// The rule of the row for an offset in a file, by the number of the file's table.
#[inline(always)]
fn row_rule(number: u32, offset: u64) -> Option<u16> {
    let table = TABLES.get(number)?;
    let page = (offset >> PAGE_BITS).wrapping_sub(u64::from(table.first_offset));
    if page >= u64::from(table.pages) {
        return None;
    }
    let entry = *PAGES.get(table.first_page.wrapping_add(page as u32))?;
    find(entry, offset as u16, |block| BLOCKS.get(block))
}

/// The two words at an address of the stack. More are read than are asked for: the frames of a
/// stack lie close together, and a read costs more than its bytes do.
#[inline(always)]
pub(crate) fn words<M: Memory>(scratch: &mut Scratch, memory: M, address: u64) -> Option<[u64; 2]> {
    let inside = address.wrapping_sub(scratch.window_start) as usize / size_of::<u64>();
    let is_word = address.is_multiple_of(size_of::<u64>() as u64);
    let index = if scratch.window_start != 0 && inside < WINDOW_WORDS - 1 && is_word {
        inside
    } else if read_window(scratch, memory, address) {
        0
    } else {
        return None;
    };
    let next = (index + 1) & (WINDOW_WORDS - 1);
    Some([
        scratch.window[index & (WINDOW_WORDS - 1)],
        scratch.window[next],
    ])
}

/// Reads words of the stack from an address on, two at least.
#[inline(always)]
fn read_window<M: Memory>(scratch: &mut Scratch, memory: M, address: u64) -> bool {
    let window = (&raw mut scratch.window).cast::<c_void>();
    let is_read = memory.read(window, size_of_val(&scratch.window) as u32, address);
    scratch.window_start = if is_read { address } else { 0 };
    // The stack may end within the window.
    is_read || memory.read(window, 2 * size_of::<u64>() as u32, address)
}

/// Adds the frame that was reached.
#[inline(always)]
fn store(scratch: &mut Scratch, place: &Place) {
    let index = scratch.user.header.frames as usize;
    if index >= MAX_USER_FRAMES {
        return;
    }
    if place.file <= file::ANONYMOUS {
        without_file(scratch, place.file);
    }
    let is_return = scratch.is_return;
    let offset = place.offset + u64::from(is_return);
    scratch
        .hash
        .mix((u64::from(is_return) << 32) | u64::from(place.file));
    scratch.hash.mix(offset);
    scratch.user.frames[index] = UserFrame {
        file: place.file,
        is_return,
        offset,
    };
    scratch.user.header.frames = index as u32 + 1;
}

/// Takes in that a frame has no file.
#[inline(always)]
fn without_file(scratch: &mut Scratch, file: u32) {
    if file == file::ANONYMOUS {
        scratch.has_anonymous = 1;
    } else {
        count_miss(scratch.event, file);
    }
}

#[inline(never)]
fn count_miss(event: u32, file: u32) {
    let miss = match file {
        file::NO_MAPPING => Miss::NoMapping,
        file::UNREADABLE => Miss::TreeUnreadable,
        _ => Miss::FileTableFull,
    };
    if let Some(counters) = counters(event) {
        counters.misses[miss as usize] += 1;
    }
}
