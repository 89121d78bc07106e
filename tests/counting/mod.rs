//! The allocator of programs that count what one thread allocates.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Allocations of the thread that is counted, so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Counts the thread it is called in from then on, if that is its name. Allocates nothing.
pub(crate) fn count_this_thread(name: &str) {
    if !COUNTED.get() {
        COUNTED.set(std::thread::current().name() == Some(name));
    }
}

/// Counts the thread it is called in from then on. Allocates nothing.
pub(crate) fn count_here() {
    COUNTED.set(true);
}

/// Whether this thread's allocations count.
pub(crate) fn is_counted() -> bool {
    COUNTED.get()
}

/// Allocations of threads that are counted.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread's allocations count. Constant and without a destructor, so that reading
    /// it does not allocate.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, and a counter.
struct Counting;

fn count() {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every method hands its arguments to the same method of `System` and returns what that
// returns, so `System` keeps the contract; `count` neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's promise is that of `System::alloc`.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: `layout` is the caller's, with a size that is not zero.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's promise is that of `System::alloc_zeroed`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: `layout` is the caller's, with a size that is not zero.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the caller's promise is that of `System::realloc`.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `at` is from `System` with this `layout`, as all blocks of this allocator are.
        unsafe { System.realloc(at, layout, size) }
    }

    // SAFETY: the caller's promise is that of `System::dealloc`.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` is from `System` with this `layout`, as all blocks of this allocator are.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
