//! The operators this executor runs: `allowlist.txt`, written by `agent/allowlist.py`.

use std::collections::HashSet;
use std::sync::OnceLock;

static LIST: &str = include_str!("allowlist.txt");

/// Whether an operator (`aten::add.Tensor`) is on the list.
pub fn allows(operator: &str) -> bool {
    static SET: OnceLock<HashSet<&'static str>> = OnceLock::new();
    SET.get_or_init(|| LIST.lines().filter(|line| !line.starts_with('#')).collect()).contains(operator)
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn what_reaches_beyond_tensors_is_not_on_the_list() {
        for operator in [
            "aten::from_file",
            "aten::save",
            "prim::Print",
            "aten::set_.source_Storage",
            "aten::set_.source_Storage_storage_offset",
            "aten::set_.source_Tensor",
            "aten::record_stream",
            "quantized::conv2d",
            "aten::_sparse_coo_tensor_unsafe",
            "aten::resize_",
            "",
            "# Written by agent/allowlist.py",
        ] {
            assert!(!allows(operator), "{operator}");
        }
    }

    #[test]
    fn what_models_need_is_on_the_list() {
        for operator in [
            "aten::add.Tensor",
            "aten::mm",
            "aten::convolution",
            "aten::convolution_backward",
            "aten::_foreach_add_.Scalar",
            "aten::_local_scalar_dense",
            "aten::index.Tensor",
            "aten::normal_",
            "aten::_thnn_fused_lstm_cell",
            "aten::_scaled_dot_product_flash_attention_for_cpu",
            "aten::native_layer_norm",
            "aten::empty.memory_format",
            "aten::add.out",
            "aten::copy_",
            "aten::embedding_dense_backward",
            "aten::_fused_adam_",
        ] {
            assert!(allows(operator), "{operator}");
        }
    }
}
