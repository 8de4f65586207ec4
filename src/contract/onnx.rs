//! Reads of an ONNX file what the runtime doesn't tell: opsets, operators, class lists, metadata.
//!
//! Field numbers are those of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>); fields that are not
//! named here, the weights among them, are skipped.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::Class;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, tag = "4")]
    op_type: String,
    /// Each read by itself: a forest's attributes are long lists of numbers, which would take several times the file's memory.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    attribute: Vec<Bytes>,
    #[prost(string, tag = "7")]
    domain: String,
}

/// What tells whether an attribute is worth reading.
#[derive(Clone, PartialEq, Message)]
struct AttributeHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ClassLabels {
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    strings: Vec<Vec<u8>>,
}

/// What an ONNX file says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OnnxFile {
    pub ir_version: i64,
    pub producer: String,
    /// Operator set version by domain; the standard domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// How often each operator occurs, with its domain where that is not the standard one.
    pub operators: BTreeMap<String, usize>,
    pub metadata: BTreeMap<String, String>,
    /// The classes that the graph's classifier lists, where it has one.
    pub classes: Option<Vec<Class>>,
}

impl OnnxFile {
    /// # Errors
    /// Says why the bytes are no ONNX model.
    pub fn parse(bytes: Bytes) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty".to_owned());
        }
        let model =
            ModelProto::decode(bytes).map_err(|_| "the file is not an ONNX model, or only a part of one".to_owned())?;
        let Some(graph) = model.graph else {
            return Err("the file is not an ONNX model: it has no graph".to_owned());
        };
        let mut file = Self {
            ir_version: model.ir_version,
            producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
            opsets: model
                .opset_import
                .into_iter()
                .map(|opset| (domain(&opset.domain).to_owned(), opset.version))
                .collect(),
            metadata: model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect(),
            ..Self::default()
        };
        let mut class_lists = Vec::new();
        file.collect(&graph, &mut class_lists);
        class_lists.dedup();
        // Several classifiers with different lists (a stacking): the graph alone does not tell whose classes come out.
        if let [classes] = class_lists.as_slice() {
            file.classes = Some(classes.clone());
        }
        Ok(file)
    }

    fn collect(&mut self, graph: &GraphProto, class_lists: &mut Vec<Vec<Class>>) {
        for node in &graph.node {
            let name = match domain(&node.domain) {
                "ai.onnx" => node.op_type.clone(),
                domain => format!("{domain}.{}", node.op_type),
            };
            *self.operators.entry(name).or_default() += 1;
            for attribute in &node.attribute {
                // The model was decoded, so its attributes are well-formed; one of a type to come is left alone.
                let Ok(head) = AttributeHead::decode(attribute.clone()) else { continue };
                if head.name.starts_with("classlabels_") {
                    class_lists.extend(classes(attribute));
                }
                if let Some(subgraph) = &head.g {
                    self.collect(subgraph, class_lists);
                }
            }
        }
    }
}

/// The classes of one of the attributes `classlabels_int64s`, `classlabels_ints` and `classlabels_strings`.
fn classes(attribute: &Bytes) -> Option<Vec<Class>> {
    let labels = ClassLabels::decode(attribute.clone()).ok()?;
    let ints = labels.ints.into_iter().map(Class::Int);
    let texts = labels.strings.into_iter().map(|text| Class::Text(String::from_utf8_lossy(&text).into_owned()));
    Some(ints.chain(texts).collect()).filter(|classes: &Vec<Class>| !classes.is_empty())
}

fn domain(name: &str) -> &str {
    if name.is_empty() { "ai.onnx" } else { name }
}
