//! The allocator of programs that count what one thread allocates.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Allocations of the thread that is counted, so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes that threads have allocated since they are counted, less those that they have freed.
pub(crate) fn live_bytes() -> i64 {
    LIVE_BYTES.load(Ordering::Relaxed)
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

static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Whether this thread's allocations count. Constant and without a destructor, so that reading
    /// it does not allocate.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, and counters.
struct Counting;

/// An allocation, and how many bytes more there are for it.
fn count(bytes: usize, before: usize) {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(bytes as i64 - before as i64, Ordering::Relaxed);
    }
}

fn count_freed(bytes: usize) {
    if COUNTED.get() {
        LIVE_BYTES.fetch_sub(bytes as i64, Ordering::Relaxed);
    }
}

// SAFETY: every method hands its arguments to the same method of `System` and returns what that
// returns, so `System` keeps the contract; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's promise is that of `System::alloc`.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: `layout` is the caller's, with a size that is not zero.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's promise is that of `System::alloc_zeroed`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: `layout` is the caller's, with a size that is not zero.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the caller's promise is that of `System::realloc`.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: `at` is from `System` with this `layout`, as all blocks of this allocator are.
        unsafe { System.realloc(at, layout, size) }
    }

    // SAFETY: the caller's promise is that of `System::dealloc`.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: `at` is from `System` with this `layout`, as all blocks of this allocator are.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
