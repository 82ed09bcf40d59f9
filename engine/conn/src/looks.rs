//! How many lines of memory are looked at: what the tests count where a stopwatch would measure the machine.

/// One more line is looked at.
#[inline(always)]
pub fn count() {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
}

#[cfg(test)]
thread_local! {
    static LOOKS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// What `work` gives, and at how many lines it looks.
#[cfg(test)]
pub fn of<T>(work: impl FnOnce() -> T) -> (T, u32) {
    let before = LOOKS.get();
    let made = work();
    (made, LOOKS.get() - before)
}
