//! A thread that waits where it waited before has the same stacks. What the walk of a stack rests on
//! is compared then, which is cheaper than another walk.
//!
//! A user stack is decided by the registers, the mappings and the words that were read from it as
//! return addresses and frame pointers. A kernel stack is decided by its return addresses, and where
//! they lie by themselves: the address that the program was called with is on the same stack, below
//! all of them, and how far it is from one to the next is fixed by the code that the first leads to.
//! This does not hold of the outermost one, since the kernel puts a gap of random size below it
//! (`randomize_kstack_offset`); but it is where the kernel is entered, and each entry calls a function of
//! its own.

use abi::{
    reasons::StackEnd,
    unwind::{Registers, Rule, cfa, fp, ra},
};
use aya_ebpf::{
    bindings::task_struct,
    helpers::generated::{bpf_loop, bpf_probe_read_kernel},
};
use core::ffi::c_void;

use super::stacks::Stacks;
use crate::{
    frames::{self, Own},
    kernel::number,
    mapping::Space,
    maps::{KernelStack, Scratch, slot},
    registers::{self, MACHINE},
    sample,
};

/// How many stacks a thread is known by, a power of two.
const REPEATS: usize = 4;
/// How many words are compared of each stack at most.
const MAX_WORDS: usize = 24;
/// How much of the kernel stack is looked at, in words; a power of two.
const KERNEL_WORDS: usize = 128;
/// How many frames of the kernel's stack may lie below the address that the program was called with.
const OWN_FRAMES: usize = 4;
/// After how many equal stacks in a row they are learned, and after how many more the next attempt is
/// made.
const LEARN_AFTER: u32 = 2;
const LEARN_AGAIN: u32 = 16;

/// A word of a stack.
#[repr(C)]
#[derive(Clone, Copy)]
struct Word {
    at: u64,
    value: u64,
}

/// Words of a stack, as they were read.
#[repr(C)]
#[derive(Clone, Copy)]
struct Words {
    count: u32,
    /// Always 0.
    padding: u32,
    words: [Word; MAX_WORDS],
}

impl Words {
    /// Whether there was room for one more.
    #[inline(always)]
    fn push(&mut self, at: u64, value: u64) -> bool {
        let index = self.count as usize;
        if index >= MAX_WORDS {
            return false;
        }
        self.words[index] = Word { at, value };
        self.count += 1;
        true
    }

    /// The place of the last one.
    #[inline(always)]
    fn highest(&self) -> u64 {
        let last = self.count.wrapping_sub(1) as usize;
        if last < MAX_WORDS {
            self.words[last].at
        } else {
            0
        }
    }
}

/// What is found out about a stack while it is walked; a part of the scratch.
#[repr(C)]
pub(crate) struct Trail {
    /// The state of the thread's memory map.
    pub(crate) space: Space,
    /// 1 where the words do not decide the stack.
    is_lost: u32,
    /// 1 where the walk came to its end in a way that it would come to again.
    is_ended: u32,
    /// 1 where the thread's own frame pointer was used.
    uses_fp: u32,
    /// Always 0.
    padding: u32,
    /// Where the frame pointer of the frame that was reached is saved, as [`Registers::bx_at`].
    fp_at: u64,
    user: Words,
    kernel: Words,
    /// Which of the kernel's return addresses is looked for.
    next: u32,
    /// How many words up to the last one that was found equal one of them.
    candidates: u32,
    /// The words from this address on are in `stack`.
    bottom: u64,
    /// Sets of the kernel's return addresses, by different bits of them.
    sets: [u64; 3],
    stack: [u64; KERNEL_WORDS],
}

/// By what a thread's stacks are known again.
#[repr(C)]
pub(crate) struct Repeat {
    /// How often in a row the stacks were walked and found to be those of the walk before.
    times: u32,
    /// 1 where the rest holds.
    is_known: u32,
    /// 1 where it held lately.
    is_recent: u32,
    /// How the thread left the CPU: an [`abi::reasons::State`].
    state: u32,
    uses_fp: u32,
    /// Always 0.
    padding: u32,
    pc: u64,
    /// The stacks that were walked last.
    pub(crate) stacks: Stacks,
    sp: u64,
    fp: u64,
    space: Space,
    user: Words,
    kernel: Words,
}

/// By how a thread left the CPU and with what code, it is known by one of these stacks.
#[repr(C)]
pub(crate) struct Repeats([Repeat; REPEATS]);

impl Repeats {
    /// The one for a place. A place that is not there replaces another one, unless that was met since
    /// its last turn: places where the thread waits but once are many.
    #[inline(always)]
    pub(crate) fn of(&mut self, pc: u64, state: u32, trail: &mut Trail) -> Option<&mut Repeat> {
        let mut found = REPEATS;
        for index in 0..REPEATS {
            let known = &self.0[index];
            if known.pc == pc && known.state == state {
                found = index;
            }
        }
        if found == REPEATS {
            found = slot(pc as u32 ^ state, REPEATS);
            let known = &mut self.0[found];
            if known.is_recent != 0 {
                known.is_recent = 0;
                return None;
            }
            known.pc = pc;
            known.state = state;
            known.is_known = 0;
            known.times = 0;
        }
        // Through a map, so that the verifier does not go all further ways for each index apart.
        let index = number(&mut trail.bottom, found as *const c_void) as usize;
        Some(&mut self.0[index & (REPEATS - 1)])
    }
}

impl Trail {
    /// A walk begins.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.is_lost = 0;
        self.is_ended = 0;
        self.uses_fp = 0;
        self.fp_at = Registers::OWN;
        self.user.count = 0;
    }

    /// The walk went from a frame to its caller.
    #[inline(always)]
    pub(crate) fn went(&mut self, rule: &Rule, from: &Registers, to: &Registers) {
        let by_fp = rule.cfa_register == MACHINE.frame_pointer;
        let is_plain = rule.cfa == cfa::REGISTER || rule.cfa == cfa::FRAME_POINTER;
        // Where a call leaves nothing on the stack, a frame's place does not decide its caller's.
        if !is_plain
            || MACHINE.has_link
            || !(by_fp || rule.cfa_register == MACHINE.stack_pointer)
            || rule.ra != ra::AT_CFA
        {
            self.is_lost = 1;
            return;
        }
        if by_fp {
            self.rest_on_fp(from.fp);
        }
        let cfa = to.sp;
        self.rest_on(offset_by(cfa, rule.ra_offset), to.pc);
        match rule.fp {
            fp::SAME => {}
            fp::AT_CFA => self.fp_at = offset_by(cfa, rule.fp_offset),
            fp::AT_FP => {
                self.rest_on_fp(from.fp);
                self.fp_at = offset_by(from.fp, rule.fp_offset);
            }
            _ => self.fp_at = Registers::UNKNOWN,
        }
    }

    /// The walk ended at a frame.
    #[inline(always)]
    pub(crate) fn ended(&mut self, rule: &Rule, from: &Registers) {
        if rule.cfa == cfa::FRAME_POINTER && from.fp == 0 {
            self.rest_on_fp(0);
            self.is_ended = 1;
        } else if rule.ra == ra::END {
            self.is_ended = 1;
        }
    }

    /// Whether the words decide the stack.
    #[inline(always)]
    const fn is_decided(&self) -> bool {
        self.is_ended != 0 && self.is_lost == 0
    }

    #[inline(always)]
    fn rest_on_fp(&mut self, value: u64) {
        match self.fp_at {
            Registers::OWN => self.uses_fp = 1,
            at => self.rest_on(at, value),
        }
    }

    #[inline(always)]
    fn rest_on(&mut self, at: u64, value: u64) {
        if !self.user.push(at, value) {
            self.is_lost = 1;
        }
    }
}

/// Whether the running thread has the stacks that it is known by.
#[inline(always)]
pub(crate) fn holds(
    ctx: *mut c_void,
    task: *mut task_struct,
    scratch: &mut Scratch,
    known: &mut Repeat,
) -> bool {
    if known.is_known == 0 || !scratch.trail.space.is_still(&known.space) {
        return false;
    }
    if known.space.is_some() {
        let Ok(now) = registers::saved(scratch, task) else {
            return false;
        };
        let is_same = now.sp == known.sp && (known.uses_fp == 0 || now.fp == known.fp);
        if !is_same || !same_user_words(scratch, &known.user) {
            return false;
        }
    }
    let highest = known.kernel.highest();
    if !read_kernel_stack(ctx, &mut scratch.trail, highest as usize + 8)
        || !same_kernel_words(&scratch.trail, &known.kernel)
    {
        return false;
    }
    known.is_recent = 1;
    sample::count_end(scratch.event, known.stacks.end);
    true
}

#[inline(always)]
fn same_user_words(scratch: &mut Scratch, known: &Words) -> bool {
    scratch.window_start = 0;
    for index in 0..MAX_WORDS {
        if index >= known.count as usize {
            break;
        }
        let word = &known.words[index];
        match frames::words(scratch, Own, word.at) {
            Some([value, _]) if value == word.value => {}
            _ => return false,
        }
    }
    true
}

#[inline(always)]
fn same_kernel_words(trail: &Trail, known: &Words) -> bool {
    for index in 0..MAX_WORDS {
        if index >= known.count as usize {
            break;
        }
        let word = &known.words[index];
        if trail.stack[(word.at / 8) as usize & (KERNEL_WORDS - 1)] != word.value {
            return false;
        }
    }
    true
}

/// Copies the kernel stack from the address that the program was called with on.
#[inline(always)]
fn read_kernel_stack(ctx: *mut c_void, trail: &mut Trail, bytes: usize) -> bool {
    if bytes > size_of_val(&trail.stack) {
        return false;
    }
    let bottom = number(&mut trail.bottom, ctx);
    // SAFETY: the helper writes at most the array's size.
    let failed = unsafe {
        bpf_probe_read_kernel(
            (&raw mut trail.stack).cast::<c_void>(),
            bytes as u32,
            bottom as *const c_void,
        )
    };
    failed == 0
}

/// Learns the stacks that were just walked, where they are those of the walk before too.
#[inline(always)]
pub(crate) fn learn(
    ctx: *mut c_void,
    task: *mut task_struct,
    scratch: &mut Scratch,
    known: &mut Repeat,
) {
    let stacks = Stacks::of(scratch);
    if known.stacks != stacks {
        known.stacks = stacks;
        known.times = 0;
        known.is_known = 0;
        return;
    }
    known.times += 1;
    let is_time = known.is_known != 0 || known.times % LEARN_AGAIN == LEARN_AFTER;
    if !is_time || !find_kernel_words(ctx, scratch) {
        return;
    }
    if scratch.trail.space.is_some() {
        let Ok(now) = registers::saved(scratch, task) else {
            return;
        };
        if !scratch.trail.is_decided() {
            return;
        }
        known.sp = now.sp;
        known.fp = now.fp;
        known.user = scratch.trail.user;
    }
    known.uses_fp = scratch.trail.uses_fp;
    known.space = scratch.trail.space;
    known.kernel = scratch.trail.kernel;
    known.is_known = 1;
}

/// Finds where the return addresses of the kernel stack are. An address is where the call put it if
/// no other word below the next one equals it, so all must be found, and nothing besides them.
#[inline(always)]
fn find_kernel_words(ctx: *mut c_void, scratch: &mut Scratch) -> bool {
    let frames = scratch.kernel.header.frames;
    let is_whole = scratch.kernel.header.end == StackEnd::Outermost as u32;
    let bytes = size_of_val(&scratch.trail.stack);
    if !is_whole
        || frames as usize > MAX_WORDS
        || !read_kernel_stack(ctx, &mut scratch.trail, bytes)
    {
        return false;
    }
    let trail = &mut scratch.trail;
    for set in &mut trail.sets {
        *set = 0;
    }
    for index in 0..MAX_WORDS {
        if index >= frames as usize {
            break;
        }
        for (set, mark) in trail
            .sets
            .iter_mut()
            .zip(marks(scratch.kernel.addresses[index]))
        {
            *set |= mark;
        }
    }
    trail.kernel.count = 0;
    trail.next = 0;
    trail.candidates = 0;
    let mut context: *mut Scratch = scratch;
    // SAFETY: the callback has the signature that `bpf_loop` asks for, and its context points to the
    // scratch.
    unsafe {
        bpf_loop(
            KERNEL_WORDS as u32,
            look_at_word as *mut c_void,
            (&raw mut context).cast::<c_void>(),
            0,
        );
    }
    scratch.trail.candidates == scratch.trail.kernel.count && scratch.trail.next + 1 == frames
}

/// Looks at one word of the kernel stack; 1 ends the loop.
unsafe extern "C" fn look_at_word(index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the caller passes a pointer to the scratch that it holds.
    let scratch = unsafe { &mut **context.cast::<*mut Scratch>() };
    let trail = &mut scratch.trail;
    let word = trail.stack[index as usize & (KERNEL_WORDS - 1)];
    let [first, second, third] = marks(word);
    let is_candidate =
        trail.sets[0] & first != 0 && trail.sets[1] & second != 0 && trail.sets[2] & third != 0;
    if !is_candidate || !is_return_address(&scratch.kernel, word) {
        return 0;
    }
    trail.candidates += 1;
    // The innermost ones lie below the first word.
    let ahead = if trail.next == 0 { OWN_FRAMES } else { 1 };
    for frame in 0..OWN_FRAMES {
        let next = trail.next as usize + frame;
        if frame < ahead && next < MAX_WORDS && scratch.kernel.addresses[next] == word {
            trail.kernel.push(u64::from(index) * 8, word);
            trail.next = next as u32 + 1;
            break;
        }
    }
    i64::from(trail.next + 1 >= scratch.kernel.header.frames)
}

/// Whether a word is one of the kernel stack's return addresses.
#[inline(always)]
fn is_return_address(stack: &KernelStack, word: u64) -> bool {
    for frame in 0..MAX_WORDS {
        if frame >= stack.header.frames as usize {
            break;
        }
        if stack.addresses[frame] == word {
            return true;
        }
    }
    false
}

/// One bit for each of the three sets.
#[inline(always)]
const fn marks(address: u64) -> [u64; 3] {
    let spread = address.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [
        1 << (spread >> 58),
        1 << (spread >> 52 & 63),
        1 << (spread >> 46 & 63),
    ]
}

#[inline(always)]
fn offset_by(address: u64, offset: i32) -> u64 {
    address.wrapping_add_signed(i64::from(offset))
}
