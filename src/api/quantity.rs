//! Amounts as Kubernetes writes them: `256Mi`, `1e9`, `1500m`. Only read here, never written.

/// The number in a Kubernetes quantity, of bytes in `256Mi`, of bytes or anything else in `1e9`. `None`: it is not one,
/// or it is not more than 0.
/// See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
#[must_use]
pub fn parse_quantity(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 13] = [
        ("Ki", 1_024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|it| it * factor).filter(|it| it.is_finite() && *it > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, value) in [
            ("256Mi", 268_435_456.0),
            ("1Gi", 1_073_741_824.0),
            ("1e9", 1e9),
            ("500M", 5e8),
            ("128974848", 128_974_848.0),
            ("1500m", 1.5),
        ] {
            assert_eq!(parse_quantity(text), Some(value), "{text}");
        }
        for text in ["", "0", "many", "-5Mi", "NaN"] {
            assert_eq!(parse_quantity(text), None, "{text:?}");
        }
    }
}
