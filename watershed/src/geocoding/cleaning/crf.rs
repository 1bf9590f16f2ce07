//! The conditional random field that labels tokens: the model's file, and `crfs` to apply it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use crfs::Attribute;

use super::features::for_each_attribute;
use super::labels::Label;

/// Why reading the model, or its labels, cannot fail.
const WHOLE: &str = "the model is part of the program, and its tests use all of it";

/// A tagger borrows its model, so the one model that there is lives as long as the program.
static MODEL: LazyLock<crfs::Model<'static>> =
    LazyLock::new(|| crfs::Model::new(include_bytes!("model/usaddr.crfsuite")).expect(WHOLE));

/// The model, ready to label tokens.
pub(super) struct Model {
    tagger: crfs::Tagger<'static>,
    /// What the model knows, by the attribute's name without `previous:` and `next:`. `crfs` wants
    /// a new string for every attribute; most that addresses have are unknown to the model and
    /// weigh nothing, so not handing them over saves much of its time.
    known: HashMap<String, Known>,
}

/// An attribute of a token as the model has it at three tokens, where it does.
#[derive(Default)]
struct Known {
    own: Option<Attribute>,
    /// At the token before.
    next: Option<Attribute>,
    /// At the token behind.
    previous: Option<Attribute>,
}

impl Model {
    pub(super) fn new() -> Model {
        let mut known: HashMap<String, Known> = HashMap::new();
        let names = (0..MODEL.num_attrs()).filter_map(|i| MODEL.to_attr(i));
        for name in names {
            let attribute = Some(Attribute::from(name));
            if let Some(bare) = name.strip_prefix("next:") {
                known.entry(bare.to_owned()).or_default().next = attribute;
            } else if let Some(bare) = name.strip_prefix("previous:") {
                known.entry(bare.to_owned()).or_default().previous = attribute;
            } else {
                known.entry(name.to_owned()).or_default().own = attribute;
            }
        }
        let tagger = MODEL.tagger().expect(WHOLE);
        Model { tagger, known }
    }

    /// The most probable labels of the tokens of an address, one each.
    pub(super) fn label(&self, tokens: &[&str]) -> Vec<Label> {
        let labels = self.tagger.tag(&self.attributes(tokens)).expect(WHOLE);
        let known = |name: &str| Label::named(name).expect(WHOLE);
        labels.into_iter().map(known).collect()
    }

    /// The attributes of each token: its own, those of the token before, those of the token behind.
    ///
    /// Their weights are added up in this order, which is that of `usaddress`, so that sums come
    /// out equal to the last bit.
    fn attributes(&self, tokens: &[&str]) -> Vec<Vec<Attribute>> {
        let mut found: Vec<&Known> = Vec::with_capacity(tokens.len() * 9);
        let mut found_at: Vec<Range<usize>> = Vec::with_capacity(tokens.len());
        for token in tokens {
            let start = found.len();
            for_each_attribute(token, |name| found.extend(self.known.get(name)));
            found_at.push(start..found.len());
        }
        let of_token = |i: usize| &found[found_at[i].clone()];
        let start = self.known.get("address.start");
        let end = self.known.get("address.end");

        let last = tokens.len().saturating_sub(1);
        let attributes = |i: usize| {
            let mut attributes = Vec::with_capacity(24);
            let mut add = |attribute: &Option<Attribute>| attributes.extend(attribute.clone());
            of_token(i).iter().for_each(|known| add(&known.own));
            if i > 0 {
                let before = of_token(i - 1).iter().copied();
                let before = before.chain(start.filter(|_| i == 1));
                before.for_each(|known| add(&known.previous));
            }
            if i < last {
                let behind = of_token(i + 1).iter().copied();
                let behind = behind.chain(end.filter(|_| i + 1 == last));
                behind.for_each(|known| add(&known.next));
            }
            start.filter(|_| i == 0).inspect(|known| add(&known.own));
            end.filter(|_| i == last).inspect(|known| add(&known.own));
            attributes
        };
        (0..tokens.len()).map(attributes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_and_attribute_of_the_model_is_known_by_name() {
        for i in 0..MODEL.num_labels() {
            assert!(
                MODEL.to_label(i).and_then(Label::named).is_some(),
                "label {i}"
            );
        }
        assert!((0..MODEL.num_attrs()).all(|i| MODEL.to_attr(i).is_some()));
        assert_eq!((MODEL.num_labels(), MODEL.num_attrs()), (29, 1270));
    }
}
