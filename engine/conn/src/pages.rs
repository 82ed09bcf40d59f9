//! A slab whose memory is taken page by page: it becomes larger without anything in it moving, so that nothing waits for that.

use std::ops::{Index, IndexMut};

/// Values whose memory is taken at once: some hundred KiB.
const PAGE: usize = 1024;

/// All pages but the last are full.
pub struct Pages<T>(Vec<Vec<T>>);

impl<T> Pages<T> {
    /// No values yet.
    pub fn new() -> Pages<T> {
        Pages(Vec::new())
    }

    /// How many there are; they have the numbers below that.
    pub fn len(&self) -> usize {
        let full = self.0.len().saturating_sub(1);
        full * PAGE + self.0.last().map_or(0, Vec::len)
    }

    /// The one with this number, if there are so many.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&T> {
        self.0
            .get(number as usize / PAGE)?
            .get(number as usize % PAGE)
    }

    /// One more.
    pub fn push(&mut self, value: T) {
        match self.0.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(value),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(value);
                self.0.push(page);
            }
        }
    }
}

impl<T> Index<u32> for Pages<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.0[number as usize / PAGE][number as usize % PAGE]
    }
}

impl<T> IndexMut<u32> for Pages<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.0[number as usize / PAGE][number as usize % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_where_they_are() {
        let mut pages = Pages::new();
        let mut places = Vec::new();
        for number in 0..3 * PAGE as u32 {
            assert_eq!(pages.len(), number as usize);
            pages.push(number);
            places.push(&raw const pages[number]);
        }
        let stays = |number: u32| {
            pages[number] == number
                && std::ptr::eq(&raw const pages[number], places[number as usize])
        };
        assert!((0..3 * PAGE as u32).all(stays));
    }
}
