//! Puts a contract together from its three sources, field by field: the config, the document in the file, the graph.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::document::FeatureDocument;
use super::{
    Class, Contract, Declared, DeclaredKind, Document, ElementType, Feature, FeatureType, Golden, InputColumns, Inputs,
    Layout, OutputRoles, Signature, Slot, Task,
};
use crate::config::{self, Nullable};

/// Where the contract's fields come from, in falling order of precedence.
#[derive(Debug)]
pub struct Sources<'a> {
    pub settings: &'a config::Model,
    pub document: Document,
    pub signature: Signature,
    /// The classes that an operator of the graph lists.
    pub graph_classes: Option<Vec<Class>>,
}

/// Two sources that can't both be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    pub field: String,
    pub message: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

#[derive(Default)]
struct Findings {
    contradictions: Vec<Contradiction>,
    warnings: Vec<String>,
}

impl Findings {
    fn contradiction(&mut self, field: &str, message: String) {
        self.contradictions.push(Contradiction { field: field.to_owned(), message });
    }
}

/// # Errors
/// Every contradiction between the sources, each with its field and both values.
pub fn resolve(sources: Sources<'_>) -> Result<Contract, Vec<Contradiction>> {
    let Sources { settings, document, signature, graph_classes } = sources;
    let mut findings = Findings::default();
    for declared in signature.inputs.iter().chain(&signature.outputs) {
        if let DeclaredKind::Unsupported(kind) = &declared.kind {
            findings.contradiction("graph", format!("{} is of type {kind}, which can't be served", declared.name));
        }
    }
    let (features, inputs) = resolve_inputs(settings, &document, &signature, &mut findings);
    let takes_columns = matches!(inputs, Inputs::Columns(_));
    let (task, roles) = resolve_outputs(settings, &document, &signature, takes_columns, &mut findings);
    let classes = document.classes.clone().or(graph_classes);
    let labels = settings.labels.clone().or(document.labels).unwrap_or_default();
    check_labels(&labels, classes.as_deref(), &mut findings);
    if let (Some(example), Inputs::Columns(layout)) = (&document.example, &inputs) {
        for name in example.keys().filter(|name| layout.feature_index(name).is_none()) {
            findings.warnings.push(format!("the example names {name:?}, which is not a feature; it is left out"));
        }
    }
    if !findings.contradictions.is_empty() {
        return Err(findings.contradictions);
    }
    let documented: Vec<String> = document.features.iter().flatten().map(|feature| feature.name.clone()).collect();
    let example = document.example.filter(|example| features.iter().all(|feature| example.contains_key(&feature.name)));
    let golden = document.golden.filter(|golden| !golden.rows.is_empty());
    let golden = golden.map(|golden| reordered(golden, &documented, &features));
    Ok(Contract {
        task,
        version: document.version,
        target: settings.target.clone().or(document.target),
        features,
        classes,
        labels,
        example,
        golden,
        trained: document.trained,
        reference: document.reference,
        extra: settings.extra,
        signature,
        inputs,
        roles,
        warnings: findings.warnings,
    })
}

/// Golden rows in the order of the contract's features, where the config names the file's own in another order: if the config
/// is wrong about it, the rows are not reproduced.
fn reordered(mut golden: Golden, documented: &[String], features: &[Feature]) -> Golden {
    let position = |feature: &Feature| documented.iter().position(|name| *name == feature.name);
    let Some(order) = features.iter().map(position).collect::<Option<Vec<usize>>>() else { return golden };
    for row in golden.rows.iter_mut().filter(|row| row.len() == order.len()) {
        *row = order.iter().map(|index| row.get(*index).cloned().unwrap_or_default()).collect();
    }
    golden
}

fn resolve_inputs(
    settings: &config::Model,
    document: &Document,
    signature: &Signature,
    findings: &mut Findings,
) -> (Vec<Feature>, Inputs) {
    let names = feature_names(settings, document, findings);
    let Some(columns) = input_columns(signature, names.as_ref().map(Vec::len)) else {
        if names.is_some() {
            let shapes: Vec<String> = signature.inputs.iter().map(describe).collect();
            findings.contradiction(
                "features",
                format!("named, and the graph's inputs are not columns: {}", shapes.join(", ")),
            );
        }
        return (Vec::new(), Inputs::Tensors);
    };
    let n_columns: usize = columns.iter().map(|input| input.width).sum();
    let names = names.unwrap_or_else(|| graph_names(&columns));
    if names.len() != n_columns {
        let message =
            format!("{} are named, the graph's inputs take {n_columns} ({})", names.len(), describe_all(signature));
        findings.contradiction("features", message);
        return (Vec::new(), Inputs::Tensors);
    }
    let slots = slots(&columns, &names);
    let mut features = Vec::with_capacity(names.len());
    for (name, slot) in names.iter().zip(&slots) {
        let element = columns[slot.input].element;
        features.push(resolve_feature(name, element, settings, document, findings));
    }
    let layout = Layout::new(columns, slots, &features);
    (features, Inputs::Columns(Arc::new(layout)))
}

/// The names that config or document give, in order.
fn feature_names(settings: &config::Model, document: &Document, findings: &mut Findings) -> Option<Vec<String>> {
    let documented: Option<Vec<String>> =
        document.features.as_ref().map(|features| features.iter().map(|feature| feature.name.clone()).collect());
    let Some(configured) = &settings.features else {
        if let Some(names) = &documented {
            let mut seen = HashSet::new();
            for name in names.iter().filter(|name| !seen.insert(name.as_str())) {
                findings.contradiction("features", format!("{name:?} is listed twice in the file"));
            }
        }
        return documented;
    };
    let configured: Vec<String> = configured.iter().map(|feature| feature.name.clone()).collect();
    if let Some(documented) = documented
        && documented != configured
        && documented.iter().collect::<HashSet<_>>() == configured.iter().collect::<HashSet<_>>()
    {
        findings.warnings.push(format!(
            "the config orders the features as {configured:?}, the file says that its columns are {documented:?}; \
             the config is followed"
        ));
    }
    Some(configured)
}

fn resolve_feature(
    name: &str,
    element: ElementType,
    settings: &config::Model,
    document: &Document,
    findings: &mut Findings,
) -> Feature {
    let documented: Option<&FeatureDocument> = document.features.iter().flatten().find(|feature| feature.name == name);
    let configured = settings.features.iter().flatten().find(|feature| feature.name == name);
    let kind = configured
        .and_then(|feature| feature.kind)
        .or(documented.map(|feature| feature.kind))
        .unwrap_or(natural_kind(element));
    if !takes(element, kind) {
        let message = format!("is {}, the graph takes {} there", kind_word(kind), element.as_str());
        findings.contradiction(&format!("features.{name}.type"), message);
    }
    let nullable = match &settings.nullable {
        Nullable::Contract => documented.is_some_and(|feature| feature.nullable),
        Nullable::All => true,
        Nullable::None => false,
        Nullable::Named(names) => names.iter().any(|nullable| nullable == name),
    };
    if nullable && matches!(element, ElementType::Int64 | ElementType::Int32 | ElementType::Bool) {
        let message = format!("true, and the graph's {} input has no missing value", element.as_str());
        if matches!(settings.nullable, Nullable::All) {
            // `nullable = true` means every feature that can be.
            findings.warnings.push(format!("features.{name}.nullable: {message}"));
        } else {
            findings.contradiction(&format!("features.{name}.nullable"), message);
        }
    }
    let documented = documented.cloned();
    Feature {
        name: name.to_owned(),
        kind,
        nullable,
        categories: documented.as_ref().and_then(|feature| feature.categories.clone()),
        min: documented.as_ref().and_then(|feature| feature.min),
        max: documented.as_ref().and_then(|feature| feature.max),
    }
}

/// The graph's inputs as columns; `None` where one is no column or block of columns.
fn input_columns(signature: &Signature, n_features: Option<usize>) -> Option<Vec<InputColumns>> {
    let is_single = signature.inputs.len() == 1;
    let column = |input: &Declared| {
        let DeclaredKind::Tensor { element, shape } = &input.kind else { return None };
        let (width, is_vector) = match shape.as_slice() {
            [_] => (1, true),
            [_, width] if *width > 0 => (usize::try_from(*width).ok()?, false),
            // A width that the graph leaves open is what the names say.
            [_, _] if is_single => (n_features?, false),
            _ => return None,
        };
        Some(InputColumns { name: input.name.clone(), element: *element, width, is_vector })
    };
    let columns: Option<Vec<InputColumns>> = signature.inputs.iter().map(column).collect();
    columns.filter(|columns| !columns.is_empty())
}

/// Names for columns that nobody named, by the rule of `docs/contract.md`.
fn graph_names(columns: &[InputColumns]) -> Vec<String> {
    let is_single = columns.len() == 1;
    let mut names = Vec::new();
    for input in columns {
        match input.width {
            1 => names.push(input.name.clone()),
            width if is_single => names.extend((0..width).map(|column| format!("f{column}"))),
            width => names.extend((0..width).map(|column| format!("{}_{column}", input.name))),
        }
    }
    names
}

/// By name where each column is an input of its own and all are named; else in order.
fn slots(columns: &[InputColumns], names: &[String]) -> Vec<Slot> {
    let by_name: HashMap<&str, usize> = columns.iter().enumerate().map(|(i, input)| (input.name.as_str(), i)).collect();
    let all_named =
        columns.iter().all(|input| input.width == 1) && names.iter().all(|name| by_name.contains_key(name.as_str()));
    if all_named {
        return names.iter().map(|name| Slot { input: by_name[name.as_str()], column: 0 }).collect();
    }
    let in_order =
        |(input, columns): (usize, &InputColumns)| (0..columns.width).map(move |column| Slot { input, column });
    columns.iter().enumerate().flat_map(in_order).collect()
}

fn natural_kind(element: ElementType) -> FeatureType {
    match element {
        ElementType::Float32 | ElementType::Float64 => FeatureType::Float,
        ElementType::Int64 | ElementType::Int32 => FeatureType::Int,
        ElementType::Bool => FeatureType::Bool,
        ElementType::String => FeatureType::String,
    }
}

/// Whether the graph's element type can carry every value of the feature's.
fn takes(element: ElementType, kind: FeatureType) -> bool {
    match kind {
        FeatureType::Float => matches!(element, ElementType::Float32 | ElementType::Float64),
        FeatureType::Int => !matches!(element, ElementType::String | ElementType::Bool),
        FeatureType::Bool => element != ElementType::String,
        FeatureType::String => element == ElementType::String,
    }
}

fn kind_word(kind: FeatureType) -> &'static str {
    match kind {
        FeatureType::Float => "float",
        FeatureType::Int => "int",
        FeatureType::Bool => "bool",
        FeatureType::String => "string",
    }
}

fn resolve_outputs(
    settings: &config::Model,
    document: &Document,
    signature: &Signature,
    takes_columns: bool,
    findings: &mut Findings,
) -> (Task, OutputRoles) {
    let outputs = Candidates::of(&signature.outputs);
    let task = settings.task.or(document.task).unwrap_or_else(|| {
        // Whether an output has a row for each of the input's is a guess that only tables suggest.
        if takes_columns { outputs.likely_task() } else { Task::Raw }
    });
    let roles = match task {
        Task::Classification if outputs.label.is_some() || outputs.scores().is_some() => {
            OutputRoles::Classification { label: outputs.label, probabilities: outputs.scores() }
        }
        Task::Regression if outputs.floats.is_some() => {
            OutputRoles::Regression { value: outputs.floats.unwrap_or_default() }
        }
        Task::Clustering if outputs.label.is_some() => {
            OutputRoles::Clustering { cluster: outputs.label.unwrap_or_default() }
        }
        Task::Raw => OutputRoles::Raw,
        Task::Classification | Task::Regression | Task::Clustering => {
            let shapes: Vec<String> = signature.outputs.iter().map(describe).collect();
            findings
                .contradiction("task", format!("{}, and the graph's outputs are {}", task.as_str(), shapes.join(", ")));
            OutputRoles::Raw
        }
    };
    (task, roles)
}

/// The outputs that can play a role, first of each kind.
struct Candidates {
    label: Option<usize>,
    /// A sequence of maps, or floats named as probabilities.
    probabilities: Option<usize>,
    floats: Option<usize>,
    /// Whether the first output of floats is one number a row, as far as it is declared.
    floats_are_one_a_row: bool,
    n_outputs: usize,
}

impl Candidates {
    fn of(outputs: &[Declared]) -> Self {
        let find = |matches: &dyn Fn(&Declared) -> bool| outputs.iter().position(matches);
        let is_float = |output: &Declared| {
            matches!(&output.kind, DeclaredKind::Tensor { element: ElementType::Float32 | ElementType::Float64, .. })
        };
        let floats = find(&is_float);
        let floats_are_one_a_row = floats.and_then(|index| outputs.get(index)).is_some_and(|output| {
            matches!(&output.kind, DeclaredKind::Tensor { shape, .. } if matches!(shape.as_slice(), [_] | [_, 1 | -1]))
        });
        Self {
            label: find(&|output| {
                matches!(&output.kind, DeclaredKind::Tensor { element, shape }
                    if !matches!(element, ElementType::Float32 | ElementType::Float64)
                        && matches!(shape.as_slice(), [] | [_] | [_, 1 | -1]))
            }),
            probabilities: find(&|output| {
                matches!(output.kind, DeclaredKind::Maps)
                    || (is_float(output) && output.name.to_lowercase().contains("prob"))
            }),
            floats,
            floats_are_one_a_row,
            n_outputs: outputs.len(),
        }
    }

    fn scores(&self) -> Option<usize> {
        self.probabilities.or(self.floats)
    }

    fn likely_task(&self) -> Task {
        match (self.label, self.probabilities) {
            (Some(_), Some(_)) => Task::Classification,
            // skl2onnx gives KMeans the outputs `label` and `scores`.
            (Some(_), None) if self.floats.is_some() => Task::Clustering,
            (Some(_), None) if self.n_outputs == 1 => Task::Classification,
            (None, None) if self.n_outputs == 1 && self.floats_are_one_a_row => Task::Regression,
            _ => Task::Raw,
        }
    }
}

fn check_labels(labels: &BTreeMap<String, String>, classes: Option<&[Class]>, findings: &mut Findings) {
    let Some(classes) = classes else { return };
    for key in labels.keys() {
        if !classes.iter().any(|class| class.to_string() == *key) {
            let known: Vec<String> = classes.iter().map(Class::to_string).collect();
            findings.contradiction(
                "labels",
                format!("{key} is no class of the model; its classes are {}", known.join(", ")),
            );
        }
    }
    let mut texts = HashSet::new();
    for (key, text) in labels {
        if !texts.insert(text) {
            findings.contradiction("labels", format!("{key} and another class are both called {text:?}"));
        }
    }
}

fn describe(declared: &Declared) -> String {
    match &declared.kind {
        DeclaredKind::Tensor { element, shape } => {
            let dims: Vec<String> =
                shape.iter().map(|dim| if *dim < 0 { "N".to_owned() } else { dim.to_string() }).collect();
            format!("{} {}[{}]", declared.name, element.as_str(), dims.join(", "))
        }
        DeclaredKind::Maps => format!("{} sequence of maps", declared.name),
        DeclaredKind::Unsupported(kind) => format!("{} {kind}", declared.name),
    }
}

fn describe_all(signature: &Signature) -> String {
    signature.inputs.iter().map(describe).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FeatureSetting, Model};

    fn tensor(name: &str, element: ElementType, shape: &[i64]) -> Declared {
        Declared { name: name.to_owned(), kind: DeclaredKind::Tensor { element, shape: shape.to_vec() } }
    }

    fn floats(name: &str, shape: &[i64]) -> Declared {
        tensor(name, ElementType::Float32, shape)
    }

    fn resolved(settings: &Model, document: &str, signature: Signature) -> Result<Contract, Vec<String>> {
        let document = if document.is_empty() { Document::default() } else { Document::parse(document).unwrap() };
        let sources = Sources { settings, document, signature, graph_classes: None };
        resolve(sources).map_err(|contradictions| contradictions.iter().map(Contradiction::to_string).collect())
    }

    fn of_graph(inputs: Vec<Declared>, outputs: Vec<Declared>) -> Contract {
        resolved(&Model::default(), "", Signature { inputs, outputs }).unwrap()
    }

    fn names(contract: &Contract) -> Vec<&str> {
        contract.features.iter().map(|feature| feature.name.as_str()).collect()
    }

    #[test]
    fn columns_that_nobody_named() {
        let y = || vec![floats("y", &[-1, 1])];
        assert_eq!(names(&of_graph(vec![floats("x", &[-1, 3])], y())), ["f0", "f1", "f2"]);
        assert_eq!(names(&of_graph(vec![floats("age", &[-1, 1]), floats("sex", &[-1])], y())), ["age", "sex"]);
        let mixed = of_graph(vec![floats("pair", &[-1, 2]), floats("one", &[-1, 1])], y());
        assert_eq!(names(&mixed), ["pair_0", "pair_1", "one"]);
        for tensors in [floats("x", &[-1, 3, 4]), floats("x", &[-1, -1]), floats("x", &[])] {
            assert_eq!(of_graph(vec![tensors], y()).inputs, Inputs::Tensors);
        }
    }

    #[test]
    fn a_width_that_the_graph_leaves_open_is_what_the_names_say() {
        let signature = Signature { inputs: vec![floats("x", &[-1, -1])], outputs: vec![floats("y", &[-1, 1])] };
        let document = r#"{"format": 1, "features": [{"name": "a", "type": "float"}, {"name": "b", "type": "int"}]}"#;
        let contract = resolved(&Model::default(), document, signature).unwrap();
        let Inputs::Columns(layout) = &contract.inputs else { panic!("no columns") };
        assert_eq!(layout.inputs[0].width, 2);
    }

    #[test]
    fn the_config_wins_over_the_file_field_by_field() {
        let settings = Model {
            features: Some(["b", "a"].map(|name| FeatureSetting { name: name.to_owned(), kind: None }).to_vec()),
            target: Some("config".to_owned()),
            ..Model::default()
        };
        let document = r#"{"format": 1, "target": "file", "version": "7",
            "features": [{"name": "a", "type": "int", "nullable": true}, {"name": "b", "type": "float", "min": 1}]}"#;
        let signature = Signature { inputs: vec![floats("x", &[-1, 2])], outputs: vec![floats("y", &[-1, 1])] };
        let contract = resolved(&settings, document, signature).unwrap();
        assert_eq!(names(&contract), ["b", "a"]);
        assert_eq!((contract.target.as_deref(), contract.version.as_deref()), (Some("config"), Some("7")));
        // What the config leaves open of a feature, the file says of the one of that name.
        assert_eq!((contract.features[1].kind, contract.features[1].nullable), (FeatureType::Int, true));
        assert_eq!(contract.features[0].min, Some(1.0));
        assert_eq!(contract.warnings.len(), 1, "another order is worth a warning: {:?}", contract.warnings);
    }

    #[test]
    fn inputs_are_matched_by_name_where_each_takes_one_column() {
        let document = r#"{"format": 1, "features": [{"name": "b", "type": "float"}, {"name": "a", "type": "float"}]}"#;
        let inputs = vec![floats("a", &[-1, 1]), floats("b", &[-1, 1])];
        let contract =
            resolved(&Model::default(), document, Signature { inputs, outputs: vec![floats("y", &[-1, 1])] }).unwrap();
        let Inputs::Columns(layout) = &contract.inputs else { panic!("no columns") };
        assert_eq!(layout.slots, [Slot { input: 1, column: 0 }, Slot { input: 0, column: 0 }]);
    }

    #[test]
    fn every_contradiction_is_told_at_once() {
        let document = r#"{"format": 1, "task": "clustering", "classes": [0, 1], "labels": {"0": "x", "1": "x", "2": "y"},
            "features": [{"name": "a", "type": "string"}, {"name": "b", "type": "int", "nullable": true}]}"#;
        let inputs = vec![floats("a", &[-1, 1]), tensor("b", ElementType::Int64, &[-1, 1])];
        let signature = Signature { inputs, outputs: vec![floats("y", &[-1, 1])] };
        let contradictions = resolved(&Model::default(), document, signature).unwrap_err();
        let fields: Vec<&str> = contradictions.iter().filter_map(|text| text.split(':').next()).collect();
        assert_eq!(fields, ["features.a.type", "features.b.nullable", "task", "labels", "labels"]);
    }

    #[test]
    fn the_task_that_the_outputs_look_like() {
        let task = |outputs: Vec<Declared>| of_graph(vec![floats("x", &[-1, 1])], outputs).task;
        let label = || tensor("label", ElementType::Int64, &[1]);
        let maps = Declared { name: "p".to_owned(), kind: DeclaredKind::Maps };
        assert_eq!(task(vec![label(), maps]), Task::Classification);
        assert_eq!(task(vec![label(), floats("probabilities", &[-1, 3])]), Task::Classification);
        assert_eq!(task(vec![label()]), Task::Classification);
        assert_eq!(task(vec![label(), floats("scores", &[-1, 3])]), Task::Clustering);
        assert_eq!(task(vec![floats("y", &[-1, 1])]), Task::Regression);
        assert_eq!(task(vec![floats("y", &[-1])]), Task::Regression);
        assert_eq!(task(vec![floats("y", &[-1, 5])]), Task::Raw);
        assert_eq!(task(vec![floats("a", &[-1, 1]), floats("b", &[-1, 1])]), Task::Raw);
    }
}
