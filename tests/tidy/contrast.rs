//! The colours of the pages: text and marks can be told from what is behind them (WCAG 2.2, 1.4.3 and 1.4.11).

use super::none;
use super::source::{files, root};
use std::collections::BTreeMap;

/// Colours that text has. All others are marks, such as the lines of a plot, but for those that are behind text.
const TEXT: [&str; 5] = ["ink", "soft", "accent", "good", "bad"];
const BEHIND: [&str; 2] = ["paper", "card"];
/// They tell nothing, or are behind `--ink` alone.
const DECORATION: [&str; 3] = ["line", "glow", "own"];

type Colours = BTreeMap<String, f64>;

#[test]
fn colours_have_contrast() {
    let (mut faults, mut sheets) = (Vec::new(), 0);
    for file in files(&root(), |path| path.ends_with(".css")) {
        let schemes = schemes(&file.text);
        sheets += usize::from(!schemes.is_empty());
        for (at, colours) in schemes.iter().enumerate() {
            let scheme = ["light", "dark"][at % 2];
            faults.extend(faint(colours).map(|fault| format!("{}, {scheme}: {fault}", file.path)));
        }
    }
    assert!(sheets >= 5, "{sheets} sheets with colours");
    none(faults);
}

fn faint(colours: &Colours) -> impl Iterator<Item = String> + '_ {
    let kinds = colours.iter().filter(|(name, _)| {
        let name = name.as_str();
        !BEHIND.contains(&name) && !DECORATION.contains(&name)
    });
    kinds.flat_map(move |(name, luminance)| {
        let least = if TEXT.contains(&name.as_str()) {
            4.5
        } else {
            3.0
        };
        let behind = BEHIND
            .iter()
            .filter_map(|behind| Some((behind, colours.get(*behind)?)));
        behind.filter_map(move |(behind, other)| {
            let ratio = (luminance.max(*other) + 0.05) / (luminance.min(*other) + 0.05);
            (ratio < least)
                .then(|| format!("--{name} on --{behind} has {ratio:.2}, {least} is needed"))
        })
    })
}

/// The luminance of each colour, for light and dark, in any of the two ways to write them.
fn schemes(sheet: &str) -> Vec<Colours> {
    let (mut light, mut dark) = (Colours::new(), Colours::new());
    for declaration in sheet.split("--").skip(1) {
        let Some((name, rest)) = declaration.split_once(':') else {
            continue;
        };
        let value = rest.split([';', '}']).next().unwrap_or_default();
        let colours: Vec<f64> = value.split('#').skip(1).filter_map(luminance).collect();
        match colours[..] {
            [both] if !light.contains_key(name) => _ = light.insert(name.to_owned(), both),
            [second] => _ = dark.insert(name.to_owned(), second),
            [one, two] => {
                light.insert(name.to_owned(), one);
                dark.insert(name.to_owned(), two);
            }
            _ => {}
        }
    }
    match light.contains_key("paper") {
        true => vec![light, dark],
        false => Vec::new(),
    }
}

/// Of the digits of a colour (WCAG 2.2, relative luminance).
fn luminance(text: &str) -> Option<f64> {
    let digits: Vec<u32> = text.chars().map_while(|c| c.to_digit(16)).collect();
    let parts: Vec<u32> = match digits.len() {
        3 => digits.iter().map(|digit| digit * 17).collect(),
        6 => digits
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect(),
        _ => return None,
    };
    let linear = |part: &u32| {
        let part = f64::from(*part) / 255.0;
        match part <= 0.04045 {
            true => part / 12.92,
            false => ((part + 0.055) / 1.055).powf(2.4),
        }
    };
    let parts: Vec<f64> = parts.iter().map(linear).collect();
    Some(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])
}

#[test]
fn faint_colours_are_found() {
    let of = |sheet: &str| -> Vec<String> { schemes(sheet).iter().flat_map(faint).collect() };
    let black = ":root{--paper:#fff;--ink:#000;--s4:#949494}";
    assert!(of(black).is_empty());
    let faint = of(
        ":root { --paper: light-dark(#fff, #000000); --ink: light-dark(#777, #757575); --s4: #959595; }",
    );
    assert_eq!(faint.len(), 2, "{faint:?}");
    assert!(faint[0].contains("--ink on --paper has 4.48"), "{faint:?}");
    assert!(faint[1].contains("--s4 on --paper"), "{faint:?}");
}
