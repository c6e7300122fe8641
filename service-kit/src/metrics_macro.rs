//! `metrics!`: a service's metrics as one documented struct. The doc comment of a field is the HELP
//! text, the registry is a value and not a global (after crates_io's `src/metrics/macros.rs`).

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Seconds, from a millisecond to ten: what a request or a transaction takes.
pub const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts, from one to the largest batch.
pub const COUNTS: &[f64] = &[1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];

/// A kind of metric that `metrics!` can make: from its name, its help, and its labels or buckets.
pub trait Metric: Collector + Clone + Sized + 'static {
    /// Labels, buckets or nothing.
    type Shape;

    /// Makes the metric.
    ///
    /// # Errors
    /// The name or a label is not one that Prometheus takes.
    fn make(options: Opts, shape: Self::Shape) -> prometheus::Result<Self>;
}

macro_rules! metric {
    ($kind:ty, $shape:ty, |$options:ident, $given:ident| $make:expr) => {
        impl Metric for $kind {
            type Shape = $shape;

            fn make($options: Opts, $given: Self::Shape) -> prometheus::Result<Self> {
                $make
            }
        }
    };
}

metric!(IntCounter, (), |options, _shape| Self::with_opts(options));
metric!(IntGauge, (), |options, _shape| Self::with_opts(options));
metric!(Gauge, (), |options, _shape| Self::with_opts(options));
metric!(IntCounterVec, &'static [&'static str], |options, labels| Self::new(options, labels));
metric!(IntGaugeVec, &'static [&'static str], |options, labels| Self::new(options, labels));
metric!(Histogram, &'static [f64], |options, buckets| Self::with_opts(
    HistogramOpts::from(options).buckets(buckets.to_vec())
));

/// Makes and registers one metric.
///
/// # Errors
/// The name is taken, or not one that Prometheus takes.
pub fn register<M: Metric>(
    registry: &Registry,
    name: &str,
    help: &[&str],
    shape: M::Shape,
) -> prometheus::Result<M> {
    let help: Vec<&str> = help.iter().map(|line| line.trim()).collect();
    let metric = M::make(Opts::new(name, help.join(" ")), shape)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Declares a service's metrics: `/// help`, then `name: Kind = shape`.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $help:literal])+ $field:ident: $kind:ident = $shape:expr,)+
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            /// Where the metrics are registered.
            pub registry: $crate::prometheus::Registry,
            $($(#[doc = $help])+ pub $field: $crate::prometheus::$kind,)+
        }

        impl $name {
            /// Every metric's name, in the order of declaration.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            /// Every metric as it is declared, for the documents.
            pub const DESCRIPTIONS: &'static [$crate::reference::Description] = &[
                $($crate::reference::Description {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    shape: stringify!($shape),
                    help: &[$($help),+],
                }),+
            ];

            /// Makes and registers every metric.
            ///
            /// # Errors
            /// A name is declared twice.
            pub fn new() -> $crate::prometheus::Result<Self> {
                let registry = $crate::prometheus::Registry::new();
                registry.register(Box::new($crate::process::CpuSeconds::new()?))?;
                $(let $field = $crate::metrics_macro::register::<$crate::prometheus::$kind>(
                    &registry, stringify!($field), &[$($help),+], $shape,
                )?;)+
                Ok(Self { registry, $($field),+ })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::SECONDS;

    metrics! {
        /// Made up.
        struct Example {
            /// Requests
            /// by status.
            example_requests_total: IntCounterVec = &["status"],
            /// How long.
            example_seconds: Histogram = SECONDS,
        }
    }

    #[test]
    fn the_doc_comment_is_the_help_text() {
        let metrics = Example::new().unwrap();
        metrics.example_requests_total.with_label_values(&["202"]).inc();
        metrics.example_seconds.observe(0.2);
        let text = TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        assert!(text.contains("# HELP example_requests_total Requests by status.\n"), "{text}");
        assert!(text.contains("example_requests_total{status=\"202\"} 1"), "{text}");
        assert_eq!(Example::NAMES, ["example_requests_total", "example_seconds"]);
        assert_eq!(Example::DESCRIPTIONS[0].shape, r#"&["status"]"#);
    }
}
