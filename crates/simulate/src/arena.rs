//! Values that events refer to. A key of a value that is gone finds nothing, even if its place is taken again.

/// The key of a value: its place, and in the lower half how many values were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    fn new(place: u32, generation: u32) -> Self {
        Self(u64::from(place) << 32 | u64::from(generation))
    }

    fn place(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }
}

#[derive(Debug)]
pub(crate) struct Arena<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(place) = self.free.pop() {
            let (generation, content) = &mut self.places[place as usize];
            *content = Some(value);
            return Key::new(place, *generation);
        }
        // The number of values is bounded by the plan's limits, which are far below this type's.
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push((0, Some(value)));
        Key::new(place, 0)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.places.get(key.place())?;
        value.as_ref().filter(|_| *generation == key.generation())
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.places.get_mut(key.place())?;
        value.as_mut().filter(|_| *generation == key.generation())
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, value) = self.places.get_mut(key.place())?;
        if *generation != key.generation() {
            return None;
        }
        let value = value.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.place() as u32);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Returns all values in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(place, (generation, value))| {
            Some((Key::new(place as u32, *generation), value.as_ref()?))
        })
    }

    /// Returns all values in the order of their places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(place, (generation, value))| {
            Some((Key::new(place as u32, *generation), value.as_mut()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_value_and_never_the_next_in_its_place() {
        let mut arena = Arena::default();
        let (first, second) = (arena.insert('a'), arena.insert('b'));
        assert_eq!((arena.get(first), arena.get(second)), (Some(&'a'), Some(&'b')));
        assert_eq!((arena.remove(first), arena.remove(first)), (Some('a'), None));
        let third = arena.insert('c');
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.get_mut(third), Some(&mut 'c'));
        assert_eq!(arena.len(), 2);
        assert_eq!(arena.iter().map(|(_, value)| *value).collect::<String>(), "cb");
    }
}
