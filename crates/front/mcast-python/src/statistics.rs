//! Classes of statistics: their attributes are the figures that the libraries declare.

use mcast_metrics::{Figure, FigureValue};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use pyo3::{IntoPyObjectExt, PyClassInitializer};

/// The attributes of statistics, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<Attribute>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    name: &'static str,
    help: String,
    value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttributeValue {
    /// A number.
    Number(u64),
    /// A number that is not always known.
    Known(Option<u64>),
    /// One of these names.
    Name(&'static str, &'static [&'static str]),
}

impl Attributes {
    /// Returns those of the figures. Times are in nanoseconds.
    pub(crate) fn of(figures: impl Iterator<Item = Figure>) -> Self {
        let attribute = |figure: Figure| match figure.value {
            FigureValue::Count(number) | FigureValue::Level(number) => Attribute {
                name: figure.name,
                help: figure.help.to_owned(),
                value: AttributeValue::Number(number),
            },
            FigureValue::Time(time) => Attribute {
                name: figure.name,
                help: format!("{} In nanoseconds.", figure.help),
                value: AttributeValue::Number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            },
        };
        Self(figures.map(attribute).collect())
    }

    /// Adds one that is not a figure.
    pub(crate) fn with(mut self, name: &'static str, value: AttributeValue, help: &str) -> Self {
        self.0.push(Attribute { name, help: help.to_owned(), value });
        self
    }

    /// Describes them by those with these names.
    pub(crate) fn describe(&self, class: &str, shown: &[&str]) -> String {
        let shown = self.0.iter().filter(|attribute| shown.contains(&attribute.name));
        let shown = shown.map(|Attribute { name, value, .. }| format!(" {name}={}", value.text()));
        format!("<{class}{}>", shown.collect::<String>())
    }

    /// Returns their values by name, to be pickled.
    pub(crate) fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values = PyDict::new(py);
        for Attribute { name, value, .. } in &self.0 {
            values.set_item(name, value.to_python(py)?)?;
        }
        Ok(values)
    }

    /// Replaces the values by those of a pickled object. Returns `None` if they are not of this class.
    pub(crate) fn restored(mut self, values: &Bound<'_, PyDict>) -> PyResult<Option<Self>> {
        for Attribute { name, value, .. } in &mut self.0 {
            let Some(restored) = values.get_item(*name)? else { return Ok(None) };
            *value = match *value {
                AttributeValue::Number(_) => AttributeValue::Number(restored.extract()?),
                AttributeValue::Known(_) => AttributeValue::Known(restored.extract()?),
                AttributeValue::Name(_, names) => {
                    let restored: String = restored.extract()?;
                    let Some(name) = names.iter().find(|name| **name == restored) else { return Ok(None) };
                    AttributeValue::Name(name, names)
                }
            };
        }
        Ok(Some(self))
    }

    /// Returns the value of the attribute with this name.
    fn get(&self, name: &str) -> Option<AttributeValue> {
        self.0.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }
}

impl AttributeValue {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Number(number) => number.into_py_any(py),
            Self::Known(number) => number.into_py_any(py),
            Self::Name(name, _) => name.into_py_any(py),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Number(number) | Self::Known(Some(number)) => number.to_string(),
            Self::Known(None) => "?".to_owned(),
            Self::Name(name, _) => name.to_owned(),
        }
    }

    /// Returns the type in the stub.
    fn annotation(self) -> String {
        match self {
            Self::Number(_) => "int".to_owned(),
            Self::Known(_) => "int | None".to_owned(),
            Self::Name(_, names) => {
                let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                format!("Literal[{}]", names.join(", "))
            }
        }
    }
}

/// A class of statistics.
pub(crate) trait StatisticsClass: pyo3::PyClass {
    /// Returns what the class has when nothing was counted.
    fn initial() -> Self;

    /// Returns the statistics with these attributes.
    fn with_attributes(attributes: Attributes) -> Self;

    /// Returns the attributes.
    fn attributes(&self) -> &Attributes;
}

/// Restores pickled statistics.
pub(crate) fn restored<Class: StatisticsClass + Into<PyClassInitializer<Class>>>(
    py: Python<'_>,
    values: &Bound<'_, PyDict>,
) -> PyResult<Option<Py<PyAny>>> {
    let restored = Class::initial().attributes().clone().restored(values)?;
    restored.map(|attributes| Ok(Py::new(py, Class::with_attributes(attributes))?.into_any())).transpose()
}

/// Declares a class of statistics, which its `Attributes` make; `shows` names those in its `repr()`.
macro_rules! statistics_class {
    ($(#[$attribute:meta])* $class:ident of $of:ty, shows $($shown:literal)+) => {
        $(#[$attribute])*
        #[pyo3::pyclass(frozen, eq, module = "pymcast")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $class(pub(crate) $crate::statistics::Attributes);

        impl $crate::statistics::StatisticsClass for $class {
            fn initial() -> Self {
                <$of>::default().into()
            }

            fn with_attributes(attributes: $crate::statistics::Attributes) -> Self {
                Self(attributes)
            }

            fn attributes(&self) -> &$crate::statistics::Attributes {
                &self.0
            }
        }

        #[pyo3::pymethods]
        impl $class {
            fn __repr__(&self) -> String {
                self.0.describe(stringify!($class), &[$($shown),+])
            }

            fn __reduce__<'py>(
                &self,
                py: pyo3::Python<'py>,
            ) -> pyo3::PyResult<$crate::values::Pickled<'py>> {
                $crate::values::pickled(py, "_statistics", (stringify!($class), self.0.to_dict(py)?))
            }
        }
    };
}

pub(crate) use statistics_class;

/// Gives the class its attributes, and their types as annotations, from which the stub is made.
pub(crate) fn add_attributes<Class: StatisticsClass>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Class>();
    let property = py.import("builtins")?.getattr("property")?;
    let initial = Class::initial();
    let annotations = PyDict::new(py);
    for Attribute { name, help, value } in &initial.attributes().0 {
        let name = *name;
        let get =
            move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<Py<PyAny>> {
                let of = arguments.get_item(0)?.cast_into::<Class>()?;
                let value = of.borrow().attributes().get(name);
                value.map_or_else(|| Ok(arguments.py().None()), |value| value.to_python(arguments.py()))
            };
        annotations.set_item(name, value.annotation())?;
        let get = PyCFunction::new_closure(py, None, None, get)?;
        class.setattr(name, property.call1((get, py.None(), py.None(), help))?)?;
    }
    class.setattr("__annotations__", annotations)
}
