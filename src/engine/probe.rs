//! Runs a model on a few rows before it serves: warms it up, and finds whether its answers depend on the rows beside.

use std::time::{Duration, Instant};

use super::session::{Feed, Runner};
use super::{EngineError, Sessions};
use crate::contract::{ElementType, Layout, Output, Outputs, Signature, Table, Tolerance, Values};

/// Rows that are also run apart; more would tell nothing new.
const ROWS_APART: usize = 16;
/// Runs over several rows sum in another order than runs over one.
const TOLERANCE: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-4 };

/// What a model did on trial rows.
#[derive(Debug, Clone)]
pub struct Probe {
    pub outputs: Outputs,
    /// Whether each row's answer is its own: the first dimension of all outputs is the rows', and running rows together or
    /// apart makes no difference.
    pub is_row_wise: bool,
    /// How long a run over one row took, warm.
    pub one_row: Duration,
}

/// Runs `table` on every session.
///
/// # Errors
/// The model fails on rows that keep its contract.
pub fn probe(sessions: &mut Sessions, layout: &Layout, table: &Table, rows: &str) -> Result<Probe, EngineError> {
    let failed = |error: ort::Error| EngineError::WarmUp { rows: rows.to_owned(), reason: error.to_string() };
    let fixed = fixed_rows(&sessions.signature());
    let mut outputs = None;
    for runner in &mut sessions.runners {
        let ran = match fixed {
            Some(1) => run_apart(runner, layout, table, table.n_rows),
            Some(n_rows) => {
                let table = cycled(table, layout, n_rows);
                runner.run(&feeds(layout, &table, 0..n_rows))
            }
            None => runner.run(&feeds(layout, table, 0..table.n_rows)),
        };
        outputs.get_or_insert(ran.map_err(failed)?);
    }
    let (Some(outputs), Some(runner)) = (outputs, sessions.runners.first_mut()) else {
        return Err(EngineError::Load { reason: "the model has no session".to_owned() });
    };
    if let Some(2..) = fixed {
        // One run is as long for one row as for all of them; nothing else is known of it, and it takes the queue.
        return Ok(Probe { outputs, is_row_wise: false, one_row: Duration::MAX });
    }
    let n_apart = table.n_rows.min(ROWS_APART);
    let started = Instant::now();
    let apart = run_apart(runner, layout, table, n_apart).map_err(failed)?;
    let one_row = started.elapsed() / u32::try_from(n_apart.max(1)).unwrap_or(1);
    let is_row_wise = outputs.tensors.iter().all(|output| output.n_rows() == table.n_rows)
        && outputs.tensors.iter().zip(&apart.tensors).all(|(together, apart)| same_rows(together, apart, n_apart));
    Ok(Probe { outputs, is_row_wise, one_row })
}

/// The number of rows that the graph fixes for every run, where it does.
pub(super) fn fixed_rows(signature: &Signature) -> Option<usize> {
    signature.inputs.iter().find_map(|input| match &input.kind {
        crate::contract::DeclaredKind::Tensor { shape, .. } => {
            shape.first().and_then(|dim| usize::try_from(*dim).ok()).filter(|n_rows| *n_rows > 0)
        }
        _ => None,
    })
}

/// The inputs of a run over some rows of a table.
pub(super) fn feeds<'a>(layout: &Layout, table: &'a Table, rows: std::ops::Range<usize>) -> Vec<Feed<'a>> {
    let n_rows = rows.len() as i64;
    let columns = layout.inputs.iter().zip(&table.inputs);
    columns
        .map(|(input, values)| {
            let shape = if input.is_vector { vec![n_rows] } else { vec![n_rows, input.width as i64] };
            Feed { shape, values, start: rows.start * input.width }
        })
        .collect()
}

/// A table of zeros, ones and small fractions, for models that bring no rows of their own.
pub fn trial_table(layout: &Layout, n_rows: usize) -> Table {
    let inputs = layout.inputs.iter().map(|input| {
        let n_values = input.width * n_rows;
        match input.element {
            ElementType::Float32 => Values::Float32((0..n_values).map(|i| (i % 17) as f32 / 16.0).collect()),
            ElementType::Float64 => Values::Float64((0..n_values).map(|i| (i % 17) as f64 / 16.0).collect()),
            ElementType::Int64 => Values::Int64((0..n_values).map(|i| (i % 2) as i64).collect()),
            ElementType::Int32 => Values::Int32((0..n_values).map(|i| (i % 2) as i32).collect()),
            ElementType::Bool => Values::Bool((0..n_values).map(|i| i % 2 == 1).collect()),
            ElementType::String => Values::String(vec![String::new(); n_values]),
        }
    });
    Table { n_rows, inputs: inputs.collect() }
}

fn cycled(table: &Table, layout: &Layout, n_rows: usize) -> Table {
    let inputs = layout.inputs.iter().zip(&table.inputs).map(|(input, values)| {
        let mut cycled = Values::with_capacity(input.element, input.width * n_rows);
        for row in (0..table.n_rows).cycle().take(n_rows) {
            cycled.extend_from(values, row * input.width..(row + 1) * input.width);
        }
        cycled
    });
    Table { n_rows, inputs: inputs.collect() }
}

fn run_apart(runner: &mut Runner, layout: &Layout, table: &Table, n_rows: usize) -> ort::Result<Outputs> {
    let mut all: Option<Outputs> = None;
    for row in 0..n_rows {
        let one = runner.run(&feeds(layout, table, row..row + 1))?;
        match &mut all {
            None => all = Some(one),
            Some(all) => {
                for (all, one) in all.tensors.iter_mut().zip(&one.tensors) {
                    if all.values.element() == one.values.element() {
                        all.values.extend_from(&one.values, 0..one.values.len());
                    }
                    if let (Some(total), Some(more)) = (all.shape.first_mut(), one.shape.first()) {
                        *total += more;
                    }
                }
            }
        }
    }
    Ok(all.unwrap_or(Outputs { tensors: Vec::new() }))
}

fn same_rows(together: &Output, apart: &Output, n_rows: usize) -> bool {
    let width = together.width();
    if apart.width() != width || apart.n_rows() != n_rows || together.keys != apart.keys {
        return false;
    }
    (0..n_rows * width).all(|index| match (&together.values, &apart.values) {
        (Values::String(together), Values::String(apart)) => together.get(index) == apart.get(index),
        (together, apart) => match (together.number(index), apart.number(index)) {
            (Some(together), Some(apart)) => TOLERANCE.agrees(together, apart),
            _ => false,
        },
    })
}
