//! Runs the models; see src/lib.rs.

#[test]
fn nothing_posted_is_slept_through() {
    peregrine_loom::nothing_posted_is_slept_through();
}

#[test]
fn a_worker_that_posts_looks_before_it_sleeps() {
    peregrine_loom::a_worker_that_posts_looks_before_it_sleeps();
}

#[test]
fn a_closed_handle_keeps_nothing() {
    peregrine_loom::a_closed_handle_keeps_nothing();
}

#[test]
fn room_ends_the_waiting() {
    peregrine_loom::room_ends_the_waiting();
}

#[test]
fn the_end_ends_the_waiting() {
    peregrine_loom::the_end_ends_the_waiting();
}

#[test]
fn room_is_told_once() {
    peregrine_loom::room_is_told_once();
}

#[test]
fn the_end_is_told_once() {
    peregrine_loom::the_end_is_told_once();
}

#[test]
fn both_ways_of_waiting_get_along() {
    peregrine_loom::both_ways_of_waiting_get_along();
}
