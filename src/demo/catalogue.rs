//! The products of the demo's origin, in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most products: the demo is not a way to fill a computer's memory.
const MAX: usize = 1000;

/// What the shop starts with: name, category, price.
const FIRST: [(&str, &str, f64); 10] = [
    ("Green tea", "tea", 4.5),
    ("Black tea", "tea", 3.9),
    ("Espresso beans", "coffee", 12.0),
    ("Filter coffee", "coffee", 9.5),
    ("Oat biscuits", "biscuits", 2.8),
    ("Shortbread", "biscuits", 3.2),
    ("Tea pot", "kitchen", 34.0),
    ("Coffee mill", "kitchen", 79.0),
    ("Apricot jam", "jars", 4.1),
    ("Pickled plums", "jars", 5.6),
];

/// Something for sale.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Product {
    id: u64,
    #[serde(flatten)]
    what: Draft,
}

/// A product as a client describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    name: String,
    #[serde(default)]
    category: String,
    price: f64,
}

/// What of a product shall change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    category: Option<String>,
    price: Option<f64>,
}

/// All products.
#[derive(Debug)]
pub(super) struct Catalogue {
    products: BTreeMap<u64, Product>,
    next: u64,
}

impl Default for Catalogue {
    fn default() -> Self {
        let mut catalogue = Self { products: BTreeMap::new(), next: 1 };
        for (name, category, price) in FIRST {
            let _ = catalogue.add(Draft { name: name.into(), category: category.into(), price });
        }
        catalogue
    }
}

impl Catalogue {
    pub(super) fn all(&self) -> Vec<Product> {
        self.products.values().cloned().collect()
    }

    pub(super) fn get(&self, id: u64) -> Option<Product> {
        self.products.get(&id).cloned()
    }

    /// Products whose name or category contains `text`, in any case.
    pub(super) fn find(&self, text: &str) -> Vec<Product> {
        let text = text.to_lowercase();
        let is_meant = |p: &&Product| {
            p.what.name.to_lowercase().contains(&text)
                || p.what.category.to_lowercase().contains(&text)
        };
        self.products.values().filter(is_meant).cloned().collect()
    }

    /// The new product; `None` if the shop is full.
    pub(super) fn add(&mut self, what: Draft) -> Option<Product> {
        if self.products.len() >= MAX {
            return None;
        }
        let product = Product { id: self.next, what };
        self.next += 1;
        self.products.insert(product.id, product.clone());
        Some(product)
    }

    pub(super) fn replace(&mut self, id: u64, what: Draft) -> Option<Product> {
        let product = self.products.get_mut(&id)?;
        product.what = what;
        Some(product.clone())
    }

    pub(super) fn change(&mut self, id: u64, change: Change) -> Option<Product> {
        let product = self.products.get_mut(&id)?;
        let Change { name, category, price } = change;
        let what = &mut product.what;
        what.name = name.unwrap_or_else(|| what.name.clone());
        what.category = category.unwrap_or_else(|| what.category.clone());
        what.price = price.unwrap_or(what.price);
        Some(product.clone())
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        self.products.remove(&id).is_some()
    }
}

impl Product {
    /// Where it is.
    pub(super) fn path(&self) -> String {
        format!("/products/{}", self.id)
    }
}
