// Written by generate_meta.py from torch 2.13.0+cu130. 650 operators.
#include "meta/MetaTable.h"

#include <ATen/core/Tensor.h>

#include <unordered_map>

#include <ATen/ops/_addmm_activation_meta_dispatch.h>
#include <ATen/ops/_assert_tensor_metadata_meta_dispatch.h>
#include <ATen/ops/_convert_indices_from_coo_to_csr_meta_dispatch.h>
#include <ATen/ops/_convert_indices_from_csr_to_coo_meta_dispatch.h>
#include <ATen/ops/_ctc_loss_meta_dispatch.h>
#include <ATen/ops/_efficientzerotensor_meta_dispatch.h>
#include <ATen/ops/_fused_sdp_choice_meta_dispatch.h>
#include <ATen/ops/_linalg_det_meta_dispatch.h>
#include <ATen/ops/_linalg_eigh_meta_dispatch.h>
#include <ATen/ops/_linalg_slogdet_meta_dispatch.h>
#include <ATen/ops/_linalg_solve_ex_meta_dispatch.h>
#include <ATen/ops/_linalg_svd_meta_dispatch.h>
#include <ATen/ops/_log_softmax_meta_dispatch.h>
#include <ATen/ops/_log_softmax_backward_data_meta_dispatch.h>
#include <ATen/ops/_reshape_alias_meta_dispatch.h>
#include <ATen/ops/_resize_output_meta_dispatch.h>
#include <ATen/ops/_softmax_meta_dispatch.h>
#include <ATen/ops/_softmax_backward_data_meta_dispatch.h>
#include <ATen/ops/_sparse_coo_tensor_with_dims_meta_dispatch.h>
#include <ATen/ops/_sparse_coo_tensor_with_dims_and_tensors_meta_dispatch.h>
#include <ATen/ops/_upsample_bicubic2d_aa_meta_dispatch.h>
#include <ATen/ops/_upsample_bicubic2d_aa_backward_meta_dispatch.h>
#include <ATen/ops/_upsample_bilinear2d_aa_meta_dispatch.h>
#include <ATen/ops/_upsample_bilinear2d_aa_backward_meta_dispatch.h>
#include <ATen/ops/_upsample_lanczos2d_aa_meta_dispatch.h>
#include <ATen/ops/_upsample_lanczos2d_aa_backward_meta_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact1d_meta_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact1d_backward_meta_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact2d_meta_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact2d_backward_meta_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact3d_meta_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact3d_backward_meta_dispatch.h>
#include <ATen/ops/acos_meta_dispatch.h>
#include <ATen/ops/acosh_meta_dispatch.h>
#include <ATen/ops/adaptive_max_pool2d_meta_dispatch.h>
#include <ATen/ops/adaptive_max_pool2d_backward_meta_dispatch.h>
#include <ATen/ops/adaptive_max_pool3d_meta_dispatch.h>
#include <ATen/ops/adaptive_max_pool3d_backward_meta_dispatch.h>
#include <ATen/ops/add_meta_dispatch.h>
#include <ATen/ops/addcdiv_meta_dispatch.h>
#include <ATen/ops/addcmul_meta_dispatch.h>
#include <ATen/ops/addmm_meta_dispatch.h>
#include <ATen/ops/addmv_meta_dispatch.h>
#include <ATen/ops/all_meta_dispatch.h>
#include <ATen/ops/amax_meta_dispatch.h>
#include <ATen/ops/amin_meta_dispatch.h>
#include <ATen/ops/aminmax_meta_dispatch.h>
#include <ATen/ops/any_meta_dispatch.h>
#include <ATen/ops/arange_meta_dispatch.h>
#include <ATen/ops/argmax_meta_dispatch.h>
#include <ATen/ops/argmin_meta_dispatch.h>
#include <ATen/ops/as_strided_meta_dispatch.h>
#include <ATen/ops/asin_meta_dispatch.h>
#include <ATen/ops/asinh_meta_dispatch.h>
#include <ATen/ops/atan_meta_dispatch.h>
#include <ATen/ops/atan2_meta_dispatch.h>
#include <ATen/ops/atanh_meta_dispatch.h>
#include <ATen/ops/avg_pool2d_meta_dispatch.h>
#include <ATen/ops/avg_pool2d_backward_meta_dispatch.h>
#include <ATen/ops/avg_pool3d_meta_dispatch.h>
#include <ATen/ops/avg_pool3d_backward_meta_dispatch.h>
#include <ATen/ops/baddbmm_meta_dispatch.h>
#include <ATen/ops/bitwise_and_meta_dispatch.h>
#include <ATen/ops/bitwise_left_shift_meta_dispatch.h>
#include <ATen/ops/bitwise_not_meta_dispatch.h>
#include <ATen/ops/bitwise_or_meta_dispatch.h>
#include <ATen/ops/bitwise_right_shift_meta_dispatch.h>
#include <ATen/ops/bitwise_xor_meta_dispatch.h>
#include <ATen/ops/bmm_meta_dispatch.h>
#include <ATen/ops/cat_meta_dispatch.h>
#include <ATen/ops/ceil_meta_dispatch.h>
#include <ATen/ops/clamp_meta_dispatch.h>
#include <ATen/ops/clamp_max_meta_dispatch.h>
#include <ATen/ops/clamp_min_meta_dispatch.h>
#include <ATen/ops/copy_meta_dispatch.h>
#include <ATen/ops/copysign_meta_dispatch.h>
#include <ATen/ops/cos_meta_dispatch.h>
#include <ATen/ops/cosh_meta_dispatch.h>
#include <ATen/ops/cumprod_meta_dispatch.h>
#include <ATen/ops/cumsum_meta_dispatch.h>
#include <ATen/ops/digamma_meta_dispatch.h>
#include <ATen/ops/div_meta_dispatch.h>
#include <ATen/ops/elu_meta_dispatch.h>
#include <ATen/ops/elu_backward_meta_dispatch.h>
#include <ATen/ops/empty_meta_dispatch.h>
#include <ATen/ops/empty_strided_meta_dispatch.h>
#include <ATen/ops/eq_meta_dispatch.h>
#include <ATen/ops/erf_meta_dispatch.h>
#include <ATen/ops/erfc_meta_dispatch.h>
#include <ATen/ops/erfinv_meta_dispatch.h>
#include <ATen/ops/exp_meta_dispatch.h>
#include <ATen/ops/exp2_meta_dispatch.h>
#include <ATen/ops/expm1_meta_dispatch.h>
#include <ATen/ops/eye_meta_dispatch.h>
#include <ATen/ops/fill_meta_dispatch.h>
#include <ATen/ops/floor_meta_dispatch.h>
#include <ATen/ops/fmax_meta_dispatch.h>
#include <ATen/ops/fmin_meta_dispatch.h>
#include <ATen/ops/fmod_meta_dispatch.h>
#include <ATen/ops/frac_meta_dispatch.h>
#include <ATen/ops/fractional_max_pool2d_meta_dispatch.h>
#include <ATen/ops/fractional_max_pool2d_backward_meta_dispatch.h>
#include <ATen/ops/fractional_max_pool3d_meta_dispatch.h>
#include <ATen/ops/gather_meta_dispatch.h>
#include <ATen/ops/gcd_meta_dispatch.h>
#include <ATen/ops/ge_meta_dispatch.h>
#include <ATen/ops/gelu_meta_dispatch.h>
#include <ATen/ops/gelu_backward_meta_dispatch.h>
#include <ATen/ops/glu_meta_dispatch.h>
#include <ATen/ops/gt_meta_dispatch.h>
#include <ATen/ops/hardshrink_meta_dispatch.h>
#include <ATen/ops/hardshrink_backward_meta_dispatch.h>
#include <ATen/ops/hardsigmoid_meta_dispatch.h>
#include <ATen/ops/hardsigmoid_backward_meta_dispatch.h>
#include <ATen/ops/hash_tensor_meta_dispatch.h>
#include <ATen/ops/heaviside_meta_dispatch.h>
#include <ATen/ops/hypot_meta_dispatch.h>
#include <ATen/ops/i0_meta_dispatch.h>
#include <ATen/ops/igamma_meta_dispatch.h>
#include <ATen/ops/igammac_meta_dispatch.h>
#include <ATen/ops/index_meta_dispatch.h>
#include <ATen/ops/index_add_meta_dispatch.h>
#include <ATen/ops/index_copy_meta_dispatch.h>
#include <ATen/ops/index_reduce_meta_dispatch.h>
#include <ATen/ops/isin_meta_dispatch.h>
#include <ATen/ops/isneginf_meta_dispatch.h>
#include <ATen/ops/isposinf_meta_dispatch.h>
#include <ATen/ops/lcm_meta_dispatch.h>
#include <ATen/ops/le_meta_dispatch.h>
#include <ATen/ops/leaky_relu_meta_dispatch.h>
#include <ATen/ops/leaky_relu_backward_meta_dispatch.h>
#include <ATen/ops/lerp_meta_dispatch.h>
#include <ATen/ops/lgamma_meta_dispatch.h>
#include <ATen/ops/linalg_cholesky_ex_meta_dispatch.h>
#include <ATen/ops/linalg_cross_meta_dispatch.h>
#include <ATen/ops/linalg_inv_ex_meta_dispatch.h>
#include <ATen/ops/linalg_ldl_factor_ex_meta_dispatch.h>
#include <ATen/ops/linalg_ldl_solve_meta_dispatch.h>
#include <ATen/ops/linalg_lu_meta_dispatch.h>
#include <ATen/ops/linalg_lu_factor_ex_meta_dispatch.h>
#include <ATen/ops/linalg_lu_solve_meta_dispatch.h>
#include <ATen/ops/linalg_qr_meta_dispatch.h>
#include <ATen/ops/linalg_vector_norm_meta_dispatch.h>
#include <ATen/ops/linspace_meta_dispatch.h>
#include <ATen/ops/log_meta_dispatch.h>
#include <ATen/ops/log10_meta_dispatch.h>
#include <ATen/ops/log1p_meta_dispatch.h>
#include <ATen/ops/log2_meta_dispatch.h>
#include <ATen/ops/logaddexp_meta_dispatch.h>
#include <ATen/ops/logaddexp2_meta_dispatch.h>
#include <ATen/ops/logit_backward_meta_dispatch.h>
#include <ATen/ops/logspace_meta_dispatch.h>
#include <ATen/ops/lt_meta_dispatch.h>
#include <ATen/ops/lu_unpack_meta_dispatch.h>
#include <ATen/ops/max_meta_dispatch.h>
#include <ATen/ops/max_pool2d_with_indices_meta_dispatch.h>
#include <ATen/ops/max_pool2d_with_indices_backward_meta_dispatch.h>
#include <ATen/ops/maximum_meta_dispatch.h>
#include <ATen/ops/mean_meta_dispatch.h>
#include <ATen/ops/min_meta_dispatch.h>
#include <ATen/ops/minimum_meta_dispatch.h>
#include <ATen/ops/mish_meta_dispatch.h>
#include <ATen/ops/mm_meta_dispatch.h>
#include <ATen/ops/mse_loss_meta_dispatch.h>
#include <ATen/ops/mul_meta_dispatch.h>
#include <ATen/ops/ne_meta_dispatch.h>
#include <ATen/ops/neg_meta_dispatch.h>
#include <ATen/ops/nextafter_meta_dispatch.h>
#include <ATen/ops/nll_loss_backward_meta_dispatch.h>
#include <ATen/ops/nll_loss_forward_meta_dispatch.h>
#include <ATen/ops/norm_meta_dispatch.h>
#include <ATen/ops/normal_meta_dispatch.h>
#include <ATen/ops/polygamma_meta_dispatch.h>
#include <ATen/ops/pow_meta_dispatch.h>
#include <ATen/ops/prod_meta_dispatch.h>
#include <ATen/ops/random_meta_dispatch.h>
#include <ATen/ops/range_meta_dispatch.h>
#include <ATen/ops/reciprocal_meta_dispatch.h>
#include <ATen/ops/reflection_pad1d_meta_dispatch.h>
#include <ATen/ops/reflection_pad1d_backward_meta_dispatch.h>
#include <ATen/ops/reflection_pad3d_meta_dispatch.h>
#include <ATen/ops/reflection_pad3d_backward_meta_dispatch.h>
#include <ATen/ops/remainder_meta_dispatch.h>
#include <ATen/ops/renorm_meta_dispatch.h>
#include <ATen/ops/replication_pad1d_meta_dispatch.h>
#include <ATen/ops/replication_pad1d_backward_meta_dispatch.h>
#include <ATen/ops/replication_pad2d_meta_dispatch.h>
#include <ATen/ops/replication_pad3d_meta_dispatch.h>
#include <ATen/ops/resize_meta_dispatch.h>
#include <ATen/ops/round_meta_dispatch.h>
#include <ATen/ops/rsqrt_meta_dispatch.h>
#include <ATen/ops/scatter_meta_dispatch.h>
#include <ATen/ops/scatter_add_meta_dispatch.h>
#include <ATen/ops/scatter_reduce_meta_dispatch.h>
#include <ATen/ops/set_meta_dispatch.h>
#include <ATen/ops/sgn_meta_dispatch.h>
#include <ATen/ops/sigmoid_meta_dispatch.h>
#include <ATen/ops/sigmoid_backward_meta_dispatch.h>
#include <ATen/ops/sign_meta_dispatch.h>
#include <ATen/ops/signbit_meta_dispatch.h>
#include <ATen/ops/silu_meta_dispatch.h>
#include <ATen/ops/silu_backward_meta_dispatch.h>
#include <ATen/ops/sin_meta_dispatch.h>
#include <ATen/ops/sinc_meta_dispatch.h>
#include <ATen/ops/sinh_meta_dispatch.h>
#include <ATen/ops/slow_conv_transpose2d_meta_dispatch.h>
#include <ATen/ops/smooth_l1_loss_meta_dispatch.h>
#include <ATen/ops/softplus_meta_dispatch.h>
#include <ATen/ops/softplus_backward_meta_dispatch.h>
#include <ATen/ops/softshrink_meta_dispatch.h>
#include <ATen/ops/softshrink_backward_meta_dispatch.h>
#include <ATen/ops/sort_meta_dispatch.h>
#include <ATen/ops/special_airy_ai_meta_dispatch.h>
#include <ATen/ops/special_bessel_j0_meta_dispatch.h>
#include <ATen/ops/special_bessel_j1_meta_dispatch.h>
#include <ATen/ops/special_bessel_y0_meta_dispatch.h>
#include <ATen/ops/special_bessel_y1_meta_dispatch.h>
#include <ATen/ops/special_chebyshev_polynomial_t_meta_dispatch.h>
#include <ATen/ops/special_chebyshev_polynomial_u_meta_dispatch.h>
#include <ATen/ops/special_chebyshev_polynomial_v_meta_dispatch.h>
#include <ATen/ops/special_chebyshev_polynomial_w_meta_dispatch.h>
#include <ATen/ops/special_entr_meta_dispatch.h>
#include <ATen/ops/special_erfcx_meta_dispatch.h>
#include <ATen/ops/special_hermite_polynomial_h_meta_dispatch.h>
#include <ATen/ops/special_hermite_polynomial_he_meta_dispatch.h>
#include <ATen/ops/special_i0e_meta_dispatch.h>
#include <ATen/ops/special_i1_meta_dispatch.h>
#include <ATen/ops/special_i1e_meta_dispatch.h>
#include <ATen/ops/special_laguerre_polynomial_l_meta_dispatch.h>
#include <ATen/ops/special_legendre_polynomial_p_meta_dispatch.h>
#include <ATen/ops/special_log_ndtr_meta_dispatch.h>
#include <ATen/ops/special_modified_bessel_i0_meta_dispatch.h>
#include <ATen/ops/special_modified_bessel_i1_meta_dispatch.h>
#include <ATen/ops/special_modified_bessel_k0_meta_dispatch.h>
#include <ATen/ops/special_modified_bessel_k1_meta_dispatch.h>
#include <ATen/ops/special_ndtri_meta_dispatch.h>
#include <ATen/ops/special_scaled_modified_bessel_k0_meta_dispatch.h>
#include <ATen/ops/special_scaled_modified_bessel_k1_meta_dispatch.h>
#include <ATen/ops/special_shifted_chebyshev_polynomial_t_meta_dispatch.h>
#include <ATen/ops/special_shifted_chebyshev_polynomial_u_meta_dispatch.h>
#include <ATen/ops/special_shifted_chebyshev_polynomial_v_meta_dispatch.h>
#include <ATen/ops/special_shifted_chebyshev_polynomial_w_meta_dispatch.h>
#include <ATen/ops/special_spherical_bessel_j0_meta_dispatch.h>
#include <ATen/ops/special_xlog1py_meta_dispatch.h>
#include <ATen/ops/special_zeta_meta_dispatch.h>
#include <ATen/ops/sqrt_meta_dispatch.h>
#include <ATen/ops/sub_meta_dispatch.h>
#include <ATen/ops/sum_meta_dispatch.h>
#include <ATen/ops/tan_meta_dispatch.h>
#include <ATen/ops/tanh_meta_dispatch.h>
#include <ATen/ops/tanh_backward_meta_dispatch.h>
#include <ATen/ops/threshold_meta_dispatch.h>
#include <ATen/ops/threshold_backward_meta_dispatch.h>
#include <ATen/ops/topk_meta_dispatch.h>
#include <ATen/ops/triangular_solve_meta_dispatch.h>
#include <ATen/ops/tril_meta_dispatch.h>
#include <ATen/ops/triu_meta_dispatch.h>
#include <ATen/ops/trunc_meta_dispatch.h>
#include <ATen/ops/unfold_meta_dispatch.h>
#include <ATen/ops/uniform_meta_dispatch.h>
#include <ATen/ops/upsample_bicubic2d_meta_dispatch.h>
#include <ATen/ops/upsample_bicubic2d_backward_meta_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_meta_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_backward_meta_dispatch.h>
#include <ATen/ops/upsample_linear1d_meta_dispatch.h>
#include <ATen/ops/upsample_linear1d_backward_meta_dispatch.h>
#include <ATen/ops/upsample_nearest1d_meta_dispatch.h>
#include <ATen/ops/upsample_nearest1d_backward_meta_dispatch.h>
#include <ATen/ops/upsample_nearest2d_meta_dispatch.h>
#include <ATen/ops/upsample_nearest2d_backward_meta_dispatch.h>
#include <ATen/ops/upsample_nearest3d_meta_dispatch.h>
#include <ATen/ops/upsample_nearest3d_backward_meta_dispatch.h>
#include <ATen/ops/upsample_trilinear3d_meta_dispatch.h>
#include <ATen/ops/upsample_trilinear3d_backward_meta_dispatch.h>
#include <ATen/ops/view_meta_dispatch.h>
#include <ATen/ops/view_as_complex_meta_dispatch.h>
#include <ATen/ops/view_as_real_meta_dispatch.h>
#include <ATen/ops/xlogy_meta_dispatch.h>
#include <ATen/ops/zero_meta_dispatch.h>

namespace remote {
namespace {

using Table = std::unordered_map<std::string, c10::KernelFunction>;

template <class Function>
void add(Table& table, const char* name, Function* function) {
  table.emplace(name, c10::KernelFunction::makeFromUnboxedRuntimeFunction(function));
}

Table make_table() {
  Table table;
  add(table, "aten::_addmm_activation.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&, bool, at::Tensor&)>(&at::meta::_addmm_activation_outf));
  add(table, "aten::_addmm_activation", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&, bool)>(&at::meta::_addmm_activation));
  add(table, "aten::_assert_tensor_metadata", static_cast<void (*)(const at::Tensor&, at::OptionalIntArrayRef, at::OptionalIntArrayRef, std::optional<at::ScalarType>, std::optional<at::Device>, std::optional<at::Layout>)>(&at::meta::_assert_tensor_metadata));
  add(table, "aten::_convert_indices_from_coo_to_csr", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, bool)>(&at::meta::_convert_indices_from_coo_to_csr));
  add(table, "aten::_convert_indices_from_coo_to_csr.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, bool, at::Tensor&)>(&at::meta::_convert_indices_from_coo_to_csr_outf));
  add(table, "aten::_convert_indices_from_csr_to_coo", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, bool, bool)>(&at::meta::_convert_indices_from_csr_to_coo));
  add(table, "aten::_convert_indices_from_csr_to_coo.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, bool, bool, at::Tensor&)>(&at::meta::_convert_indices_from_csr_to_coo_outf));
  add(table, "aten::_ctc_loss", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, at::IntArrayRef, int64_t, bool)>(&at::meta::_ctc_loss));
  add(table, "aten::_efficientzerotensor", static_cast<at::Tensor (*)(at::IntArrayRef, std::optional<at::ScalarType>, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>)>(&at::meta::_efficientzerotensor));
  add(table, "aten::_fused_sdp_choice", static_cast<int64_t (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, double, bool, std::optional<double>, bool)>(&at::meta::_fused_sdp_choice));
  add(table, "aten::_linalg_det", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&)>(&at::meta::_linalg_det));
  add(table, "aten::_linalg_eigh", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, c10::string_view, bool)>(&at::meta::_linalg_eigh));
  add(table, "aten::_linalg_slogdet", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&)>(&at::meta::_linalg_slogdet));
  add(table, "aten::_linalg_solve_ex", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&, const at::Tensor&, bool, bool)>(&at::meta::_linalg_solve_ex));
  add(table, "aten::_linalg_svd", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&, bool, bool, std::optional<c10::string_view>)>(&at::meta::_linalg_svd));
  add(table, "aten::_log_softmax_backward_data", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, int64_t, at::ScalarType)>(&at::meta::_log_softmax_backward_data));
  add(table, "aten::_log_softmax_backward_data.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, int64_t, at::ScalarType, at::Tensor&)>(&at::meta::_log_softmax_backward_data_outf));
  add(table, "aten::_log_softmax", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, bool)>(&at::meta::_log_softmax));
  add(table, "aten::_log_softmax.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, bool, at::Tensor&)>(&at::meta::_log_softmax_outf));
  add(table, "aten::_reshape_alias", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef)>(&at::meta::_reshape_alias));
  add(table, "aten::_resize_output_", static_cast<const at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::Device)>(&at::meta::_resize_output_));
  add(table, "aten::_softmax_backward_data", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, int64_t, at::ScalarType)>(&at::meta::_softmax_backward_data));
  add(table, "aten::_softmax_backward_data.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, int64_t, at::ScalarType, at::Tensor&)>(&at::meta::_softmax_backward_data_outf));
  add(table, "aten::_softmax", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, bool)>(&at::meta::_softmax));
  add(table, "aten::_softmax.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, bool, at::Tensor&)>(&at::meta::_softmax_outf));
  add(table, "aten::_sparse_coo_tensor_with_dims_and_tensors", static_cast<at::Tensor (*)(int64_t, int64_t, at::IntArrayRef, const at::Tensor&, const at::Tensor&, std::optional<at::ScalarType>, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>, std::optional<bool>)>(&at::meta::_sparse_coo_tensor_with_dims_and_tensors));
  add(table, "aten::_sparse_coo_tensor_with_dims", static_cast<at::Tensor (*)(int64_t, int64_t, at::IntArrayRef, std::optional<at::ScalarType>, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>)>(&at::meta::_sparse_coo_tensor_with_dims));
  add(table, "aten::_upsample_bicubic2d_aa_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_bicubic2d_aa_backward));
  add(table, "aten::_upsample_bicubic2d_aa.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::_upsample_bicubic2d_aa_outf));
  add(table, "aten::_upsample_bicubic2d_aa", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_bicubic2d_aa));
  add(table, "aten::_upsample_bilinear2d_aa_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_bilinear2d_aa_backward));
  add(table, "aten::_upsample_bilinear2d_aa.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::_upsample_bilinear2d_aa_outf));
  add(table, "aten::_upsample_bilinear2d_aa", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_bilinear2d_aa));
  add(table, "aten::_upsample_lanczos2d_aa_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_lanczos2d_aa_backward));
  add(table, "aten::_upsample_lanczos2d_aa.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::_upsample_lanczos2d_aa_outf));
  add(table, "aten::_upsample_lanczos2d_aa", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_lanczos2d_aa));
  add(table, "aten::_upsample_nearest_exact1d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<double>)>(&at::meta::_upsample_nearest_exact1d_backward));
  add(table, "aten::_upsample_nearest_exact1d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, at::Tensor&)>(&at::meta::_upsample_nearest_exact1d_outf));
  add(table, "aten::_upsample_nearest_exact1d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>)>(&at::meta::_upsample_nearest_exact1d));
  add(table, "aten::_upsample_nearest_exact2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_nearest_exact2d_backward));
  add(table, "aten::_upsample_nearest_exact2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::_upsample_nearest_exact2d_outf));
  add(table, "aten::_upsample_nearest_exact2d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_nearest_exact2d));
  add(table, "aten::_upsample_nearest_exact3d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<double>, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_nearest_exact3d_backward));
  add(table, "aten::_upsample_nearest_exact3d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::_upsample_nearest_exact3d_outf));
  add(table, "aten::_upsample_nearest_exact3d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>, std::optional<double>)>(&at::meta::_upsample_nearest_exact3d));
  add(table, "aten::acos", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::acos));
  add(table, "aten::acos_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::acos_));
  add(table, "aten::acos.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::acos_outf));
  add(table, "aten::acosh", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::acosh));
  add(table, "aten::acosh_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::acosh_));
  add(table, "aten::acosh.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::acosh_outf));
  add(table, "aten::adaptive_max_pool2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&)>(&at::meta::adaptive_max_pool2d_backward));
  add(table, "aten::adaptive_max_pool2d.out", static_cast<std::tuple<at::Tensor&,at::Tensor&> (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&, at::Tensor&)>(&at::meta::adaptive_max_pool2d_outf));
  add(table, "aten::adaptive_max_pool2d", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::adaptive_max_pool2d));
  add(table, "aten::adaptive_max_pool3d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&)>(&at::meta::adaptive_max_pool3d_backward));
  add(table, "aten::adaptive_max_pool3d.out", static_cast<std::tuple<at::Tensor&,at::Tensor&> (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&, at::Tensor&)>(&at::meta::adaptive_max_pool3d_outf));
  add(table, "aten::adaptive_max_pool3d", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::adaptive_max_pool3d));
  add(table, "aten::add.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::add));
  add(table, "aten::add_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::add_));
  add(table, "aten::add.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::add_outf));
  add(table, "aten::addcdiv.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::addcdiv_outf));
  add(table, "aten::addcdiv", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::addcdiv));
  add(table, "aten::addcdiv_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::addcdiv_));
  add(table, "aten::addcmul.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::addcmul_outf));
  add(table, "aten::addcmul", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::addcmul));
  add(table, "aten::addcmul_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::addcmul_));
  add(table, "aten::addmm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::addmm_outf));
  add(table, "aten::addmm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::addmm));
  add(table, "aten::addmm_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::addmm_));
  add(table, "aten::addmv", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::addmv));
  add(table, "aten::addmv_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::addmv_));
  add(table, "aten::addmv.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::addmv_outf));
  add(table, "aten::all.dim", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, bool)>(&at::meta::all));
  add(table, "aten::all.dims", static_cast<at::Tensor (*)(const at::Tensor&, at::OptionalIntArrayRef, bool)>(&at::meta::all));
  add(table, "aten::all.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, bool, at::Tensor&)>(&at::meta::all_outf));
  add(table, "aten::all.dims_out", static_cast<at::Tensor& (*)(const at::Tensor&, at::OptionalIntArrayRef, bool, at::Tensor&)>(&at::meta::all_outf));
  add(table, "aten::all", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::all));
  add(table, "aten::all.all_out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::all_outf));
  add(table, "aten::amax", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool)>(&at::meta::amax));
  add(table, "aten::amax.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, at::Tensor&)>(&at::meta::amax_outf));
  add(table, "aten::amin", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool)>(&at::meta::amin));
  add(table, "aten::amin.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, at::Tensor&)>(&at::meta::amin_outf));
  add(table, "aten::aminmax", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, std::optional<int64_t>, bool)>(&at::meta::aminmax));
  add(table, "aten::aminmax.out", static_cast<std::tuple<at::Tensor&,at::Tensor&> (*)(const at::Tensor&, std::optional<int64_t>, bool, at::Tensor&, at::Tensor&)>(&at::meta::aminmax_outf));
  add(table, "aten::any.dim", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, bool)>(&at::meta::any));
  add(table, "aten::any.dims", static_cast<at::Tensor (*)(const at::Tensor&, at::OptionalIntArrayRef, bool)>(&at::meta::any));
  add(table, "aten::any.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, bool, at::Tensor&)>(&at::meta::any_outf));
  add(table, "aten::any.dims_out", static_cast<at::Tensor& (*)(const at::Tensor&, at::OptionalIntArrayRef, bool, at::Tensor&)>(&at::meta::any_outf));
  add(table, "aten::any", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::any));
  add(table, "aten::any.all_out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::any_outf));
  add(table, "aten::arange.start_out", static_cast<at::Tensor& (*)(const at::Scalar&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::arange_outf));
  add(table, "aten::argmax", static_cast<at::Tensor (*)(const at::Tensor&, std::optional<int64_t>, bool)>(&at::meta::argmax));
  add(table, "aten::argmax.out", static_cast<at::Tensor& (*)(const at::Tensor&, std::optional<int64_t>, bool, at::Tensor&)>(&at::meta::argmax_outf));
  add(table, "aten::argmin", static_cast<at::Tensor (*)(const at::Tensor&, std::optional<int64_t>, bool)>(&at::meta::argmin));
  add(table, "aten::argmin.out", static_cast<at::Tensor& (*)(const at::Tensor&, std::optional<int64_t>, bool, at::Tensor&)>(&at::meta::argmin_outf));
  add(table, "aten::as_strided", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<int64_t>)>(&at::meta::as_strided));
  add(table, "aten::asin", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::asin));
  add(table, "aten::asin_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::asin_));
  add(table, "aten::asin.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::asin_outf));
  add(table, "aten::asinh", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::asinh));
  add(table, "aten::asinh_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::asinh_));
  add(table, "aten::asinh.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::asinh_outf));
  add(table, "aten::atan2.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::atan2_outf));
  add(table, "aten::atan2_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::atan2_));
  add(table, "aten::atan2", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::atan2));
  add(table, "aten::atan", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::atan));
  add(table, "aten::atan_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::atan_));
  add(table, "aten::atan.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::atan_outf));
  add(table, "aten::atanh", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::atanh));
  add(table, "aten::atanh_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::atanh_));
  add(table, "aten::atanh.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::atanh_outf));
  add(table, "aten::avg_pool2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, bool, std::optional<int64_t>)>(&at::meta::avg_pool2d_backward));
  add(table, "aten::avg_pool2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, bool, std::optional<int64_t>, at::Tensor&)>(&at::meta::avg_pool2d_outf));
  add(table, "aten::avg_pool2d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, bool, std::optional<int64_t>)>(&at::meta::avg_pool2d));
  add(table, "aten::avg_pool3d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, bool, std::optional<int64_t>)>(&at::meta::avg_pool3d_backward));
  add(table, "aten::avg_pool3d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, bool, std::optional<int64_t>, at::Tensor&)>(&at::meta::avg_pool3d_outf));
  add(table, "aten::avg_pool3d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, bool, std::optional<int64_t>)>(&at::meta::avg_pool3d));
  add(table, "aten::baddbmm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::baddbmm));
  add(table, "aten::baddbmm_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::baddbmm_));
  add(table, "aten::baddbmm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::baddbmm_outf));
  add(table, "aten::bitwise_and.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::bitwise_and_outf));
  add(table, "aten::bitwise_and.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_and));
  add(table, "aten::bitwise_and_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_and_));
  add(table, "aten::bitwise_left_shift.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_left_shift));
  add(table, "aten::bitwise_left_shift_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_left_shift_));
  add(table, "aten::bitwise_left_shift.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::bitwise_left_shift_outf));
  add(table, "aten::bitwise_not", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::bitwise_not));
  add(table, "aten::bitwise_not_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::bitwise_not_));
  add(table, "aten::bitwise_not.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::bitwise_not_outf));
  add(table, "aten::bitwise_or.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::bitwise_or_outf));
  add(table, "aten::bitwise_or.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_or));
  add(table, "aten::bitwise_or_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_or_));
  add(table, "aten::bitwise_right_shift.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_right_shift));
  add(table, "aten::bitwise_right_shift_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_right_shift_));
  add(table, "aten::bitwise_right_shift.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::bitwise_right_shift_outf));
  add(table, "aten::bitwise_xor.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::bitwise_xor_outf));
  add(table, "aten::bitwise_xor.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_xor));
  add(table, "aten::bitwise_xor_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::bitwise_xor_));
  add(table, "aten::bmm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::bmm));
  add(table, "aten::bmm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::bmm_outf));
  add(table, "aten::cat", static_cast<at::Tensor (*)(const at::ITensorListRef&, int64_t)>(&at::meta::cat));
  add(table, "aten::cat.out", static_cast<at::Tensor& (*)(const at::ITensorListRef&, int64_t, at::Tensor&)>(&at::meta::cat_outf));
  add(table, "aten::ceil", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::ceil));
  add(table, "aten::ceil_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::ceil_));
  add(table, "aten::ceil.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::ceil_outf));
  add(table, "aten::clamp_max", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::clamp_max));
  add(table, "aten::clamp_max.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::clamp_max));
  add(table, "aten::clamp_max_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::clamp_max_));
  add(table, "aten::clamp_max_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::clamp_max_));
  add(table, "aten::clamp_max.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::clamp_max_outf));
  add(table, "aten::clamp_max.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::clamp_max_outf));
  add(table, "aten::clamp", static_cast<at::Tensor (*)(const at::Tensor&, const std::optional<at::Scalar>&, const std::optional<at::Scalar>&)>(&at::meta::clamp));
  add(table, "aten::clamp.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&)>(&at::meta::clamp));
  add(table, "aten::clamp_", static_cast<at::Tensor& (*)(at::Tensor&, const std::optional<at::Scalar>&, const std::optional<at::Scalar>&)>(&at::meta::clamp_));
  add(table, "aten::clamp_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&)>(&at::meta::clamp_));
  add(table, "aten::clamp.out", static_cast<at::Tensor& (*)(const at::Tensor&, const std::optional<at::Scalar>&, const std::optional<at::Scalar>&, at::Tensor&)>(&at::meta::clamp_outf));
  add(table, "aten::clamp.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, at::Tensor&)>(&at::meta::clamp_outf));
  add(table, "aten::clamp_min", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::clamp_min));
  add(table, "aten::clamp_min.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::clamp_min));
  add(table, "aten::clamp_min_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::clamp_min_));
  add(table, "aten::clamp_min_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::clamp_min_));
  add(table, "aten::clamp_min.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::clamp_min_outf));
  add(table, "aten::clamp_min.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::clamp_min_outf));
  add(table, "aten::copy", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, bool)>(&at::meta::copy));
  add(table, "aten::copysign.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::copysign_outf));
  add(table, "aten::copysign.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::copysign));
  add(table, "aten::copysign_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::copysign_));
  add(table, "aten::cos", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::cos));
  add(table, "aten::cos_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::cos_));
  add(table, "aten::cos.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::cos_outf));
  add(table, "aten::cosh", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::cosh));
  add(table, "aten::cosh_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::cosh_));
  add(table, "aten::cosh.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::cosh_outf));
  add(table, "aten::cumprod", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, std::optional<at::ScalarType>)>(&at::meta::cumprod));
  add(table, "aten::cumprod_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, std::optional<at::ScalarType>)>(&at::meta::cumprod_));
  add(table, "aten::cumprod.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, std::optional<at::ScalarType>, at::Tensor&)>(&at::meta::cumprod_outf));
  add(table, "aten::cumsum", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, std::optional<at::ScalarType>)>(&at::meta::cumsum));
  add(table, "aten::cumsum_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, std::optional<at::ScalarType>)>(&at::meta::cumsum_));
  add(table, "aten::cumsum.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, std::optional<at::ScalarType>, at::Tensor&)>(&at::meta::cumsum_outf));
  add(table, "aten::digamma_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::digamma_));
  add(table, "aten::digamma.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::digamma_outf));
  add(table, "aten::digamma", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::digamma));
  add(table, "aten::div.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::div));
  add(table, "aten::div_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::div_));
  add(table, "aten::div.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::div_outf));
  add(table, "aten::div.Tensor_mode", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, std::optional<c10::string_view>)>(&at::meta::div));
  add(table, "aten::div_.Tensor_mode", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, std::optional<c10::string_view>)>(&at::meta::div_));
  add(table, "aten::div.out_mode", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, std::optional<c10::string_view>, at::Tensor&)>(&at::meta::div_outf));
  add(table, "aten::elu_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&, const at::Scalar&, bool, const at::Tensor&)>(&at::meta::elu_backward));
  add(table, "aten::elu.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::elu_outf));
  add(table, "aten::elu", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&, const at::Scalar&)>(&at::meta::elu));
  add(table, "aten::elu_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&, const at::Scalar&, const at::Scalar&)>(&at::meta::elu_));
  add(table, "aten::empty.memory_format", static_cast<at::Tensor (*)(at::IntArrayRef, std::optional<at::ScalarType>, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat>)>(&at::meta::empty));
  add(table, "aten::empty_strided", static_cast<at::Tensor (*)(at::IntArrayRef, at::IntArrayRef, std::optional<at::ScalarType>, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>)>(&at::meta::empty_strided));
  add(table, "aten::eq_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::eq_));
  add(table, "aten::eq_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::eq_));
  add(table, "aten::eq.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::eq_outf));
  add(table, "aten::eq.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::eq));
  add(table, "aten::eq.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::eq_outf));
  add(table, "aten::eq.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::eq));
  add(table, "aten::erf", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::erf));
  add(table, "aten::erf_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::erf_));
  add(table, "aten::erf.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::erf_outf));
  add(table, "aten::erfc", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::erfc));
  add(table, "aten::erfc_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::erfc_));
  add(table, "aten::erfc.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::erfc_outf));
  add(table, "aten::erfinv", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::erfinv));
  add(table, "aten::erfinv_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::erfinv_));
  add(table, "aten::erfinv.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::erfinv_outf));
  add(table, "aten::exp2", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::exp2));
  add(table, "aten::exp2_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::exp2_));
  add(table, "aten::exp2.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::exp2_outf));
  add(table, "aten::exp", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::exp));
  add(table, "aten::exp_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::exp_));
  add(table, "aten::exp.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::exp_outf));
  add(table, "aten::expm1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::expm1));
  add(table, "aten::expm1_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::expm1_));
  add(table, "aten::expm1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::expm1_outf));
  add(table, "aten::eye.out", static_cast<at::Tensor& (*)(int64_t, at::Tensor&)>(&at::meta::eye_outf));
  add(table, "aten::eye.m_out", static_cast<at::Tensor& (*)(int64_t, int64_t, at::Tensor&)>(&at::meta::eye_outf));
  add(table, "aten::fill_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::fill_));
  add(table, "aten::fill_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::fill_));
  add(table, "aten::floor", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::floor));
  add(table, "aten::floor_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::floor_));
  add(table, "aten::floor.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::floor_outf));
  add(table, "aten::fmax", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::fmax));
  add(table, "aten::fmax.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::fmax_outf));
  add(table, "aten::fmin", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::fmin));
  add(table, "aten::fmin.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::fmin_outf));
  add(table, "aten::fmod.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::fmod_outf));
  add(table, "aten::fmod.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::fmod));
  add(table, "aten::fmod_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::fmod_));
  add(table, "aten::frac", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::frac));
  add(table, "aten::frac_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::frac_));
  add(table, "aten::frac.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::frac_outf));
  add(table, "aten::fractional_max_pool2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, at::IntArrayRef, const at::Tensor&)>(&at::meta::fractional_max_pool2d_backward));
  add(table, "aten::fractional_max_pool2d", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, const at::Tensor&)>(&at::meta::fractional_max_pool2d));
  add(table, "aten::fractional_max_pool3d", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, const at::Tensor&)>(&at::meta::fractional_max_pool3d));
  add(table, "aten::gather.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, bool, at::Tensor&)>(&at::meta::gather_outf));
  add(table, "aten::gather", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, bool)>(&at::meta::gather));
  add(table, "aten::gcd.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::gcd_outf));
  add(table, "aten::gcd", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::gcd));
  add(table, "aten::gcd_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::gcd_));
  add(table, "aten::ge.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::ge_outf));
  add(table, "aten::ge.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::ge));
  add(table, "aten::ge.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::ge_outf));
  add(table, "aten::ge.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::ge));
  add(table, "aten::ge_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::ge_));
  add(table, "aten::ge_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::ge_));
  add(table, "aten::gelu_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, c10::string_view)>(&at::meta::gelu_backward));
  add(table, "aten::gelu.out", static_cast<at::Tensor& (*)(const at::Tensor&, c10::string_view, at::Tensor&)>(&at::meta::gelu_outf));
  add(table, "aten::gelu_", static_cast<at::Tensor& (*)(at::Tensor&, c10::string_view)>(&at::meta::gelu_));
  add(table, "aten::gelu", static_cast<at::Tensor (*)(const at::Tensor&, c10::string_view)>(&at::meta::gelu));
  add(table, "aten::glu.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, at::Tensor&)>(&at::meta::glu_outf));
  add(table, "aten::glu", static_cast<at::Tensor (*)(const at::Tensor&, int64_t)>(&at::meta::glu));
  add(table, "aten::gt.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::gt_outf));
  add(table, "aten::gt.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::gt));
  add(table, "aten::gt.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::gt_outf));
  add(table, "aten::gt.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::gt));
  add(table, "aten::gt_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::gt_));
  add(table, "aten::gt_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::gt_));
  add(table, "aten::hardshrink_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::hardshrink_backward));
  add(table, "aten::hardshrink.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::hardshrink_outf));
  add(table, "aten::hardshrink", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::hardshrink));
  add(table, "aten::hardsigmoid_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::hardsigmoid_backward));
  add(table, "aten::hardsigmoid.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::hardsigmoid_outf));
  add(table, "aten::hardsigmoid", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::hardsigmoid));
  add(table, "aten::hardsigmoid_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::hardsigmoid_));
  add(table, "aten::hash_tensor", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, int64_t)>(&at::meta::hash_tensor));
  add(table, "aten::hash_tensor.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, int64_t, at::Tensor&)>(&at::meta::hash_tensor_outf));
  add(table, "aten::heaviside.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::heaviside_outf));
  add(table, "aten::heaviside", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::heaviside));
  add(table, "aten::heaviside_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::heaviside_));
  add(table, "aten::hypot.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::hypot_outf));
  add(table, "aten::hypot", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::hypot));
  add(table, "aten::hypot_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::hypot_));
  add(table, "aten::i0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::i0));
  add(table, "aten::i0_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::i0_));
  add(table, "aten::i0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::i0_outf));
  add(table, "aten::igamma.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::igamma_outf));
  add(table, "aten::igamma", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::igamma));
  add(table, "aten::igamma_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::igamma_));
  add(table, "aten::igammac.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::igammac_outf));
  add(table, "aten::igammac", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::igammac));
  add(table, "aten::igammac_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::igammac_));
  add(table, "aten::index_add.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::index_add_outf));
  add(table, "aten::index_add_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::index_add_));
  add(table, "aten::index_add", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::index_add));
  add(table, "aten::index_copy.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::index_copy_outf));
  add(table, "aten::index_copy_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&)>(&at::meta::index_copy_));
  add(table, "aten::index_copy", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&)>(&at::meta::index_copy));
  add(table, "aten::index.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const c10::List<std::optional<at::Tensor>>&)>(&at::meta::index));
  add(table, "aten::index.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const c10::List<std::optional<at::Tensor>>&, at::Tensor&)>(&at::meta::index_outf));
  add(table, "aten::index_reduce.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, bool, at::Tensor&)>(&at::meta::index_reduce_outf));
  add(table, "aten::index_reduce_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, bool)>(&at::meta::index_reduce_));
  add(table, "aten::index_reduce", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, bool)>(&at::meta::index_reduce));
  add(table, "aten::isin.Tensor_Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, bool, bool, at::Tensor&)>(&at::meta::isin_outf));
  add(table, "aten::isin.Tensor_Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, bool, bool)>(&at::meta::isin));
  add(table, "aten::isin.Tensor_Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, bool, bool, at::Tensor&)>(&at::meta::isin_outf));
  add(table, "aten::isin.Tensor_Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, bool, bool)>(&at::meta::isin));
  add(table, "aten::isin.Scalar_Tensor_out", static_cast<at::Tensor& (*)(const at::Scalar&, const at::Tensor&, bool, bool, at::Tensor&)>(&at::meta::isin_outf));
  add(table, "aten::isin.Scalar_Tensor", static_cast<at::Tensor (*)(const at::Scalar&, const at::Tensor&, bool, bool)>(&at::meta::isin));
  add(table, "aten::isneginf", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::isneginf));
  add(table, "aten::isneginf.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::isneginf_outf));
  add(table, "aten::isposinf", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::isposinf));
  add(table, "aten::isposinf.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::isposinf_outf));
  add(table, "aten::lcm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::lcm_outf));
  add(table, "aten::lcm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::lcm));
  add(table, "aten::lcm_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::lcm_));
  add(table, "aten::le.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::le_outf));
  add(table, "aten::le.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::le));
  add(table, "aten::le.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::le_outf));
  add(table, "aten::le.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::le));
  add(table, "aten::le_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::le_));
  add(table, "aten::le_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::le_));
  add(table, "aten::leaky_relu_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&, bool)>(&at::meta::leaky_relu_backward));
  add(table, "aten::leaky_relu.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::leaky_relu_outf));
  add(table, "aten::leaky_relu", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::leaky_relu));
  add(table, "aten::leaky_relu_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::leaky_relu_));
  add(table, "aten::lerp_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::lerp_));
  add(table, "aten::lerp_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Tensor&)>(&at::meta::lerp_));
  add(table, "aten::lerp.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::lerp_outf));
  add(table, "aten::lerp.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::lerp_outf));
  add(table, "aten::lerp.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::lerp));
  add(table, "aten::lerp.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&)>(&at::meta::lerp));
  add(table, "aten::lgamma.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::lgamma_outf));
  add(table, "aten::lgamma_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::lgamma_));
  add(table, "aten::lgamma", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::lgamma));
  add(table, "aten::linalg_cholesky_ex", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, bool, bool)>(&at::meta::linalg_cholesky_ex));
  add(table, "aten::linalg_cross", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, int64_t)>(&at::meta::linalg_cross));
  add(table, "aten::linalg_cross.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, int64_t, at::Tensor&)>(&at::meta::linalg_cross_outf));
  add(table, "aten::linalg_inv_ex", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, bool)>(&at::meta::linalg_inv_ex));
  add(table, "aten::linalg_ldl_factor_ex", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&, bool, bool)>(&at::meta::linalg_ldl_factor_ex));
  add(table, "aten::linalg_ldl_factor_ex.out", static_cast<std::tuple<at::Tensor&,at::Tensor&,at::Tensor&> (*)(const at::Tensor&, bool, bool, at::Tensor&, at::Tensor&, at::Tensor&)>(&at::meta::linalg_ldl_factor_ex_outf));
  add(table, "aten::linalg_ldl_solve", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool)>(&at::meta::linalg_ldl_solve));
  add(table, "aten::linalg_ldl_solve.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, at::Tensor&)>(&at::meta::linalg_ldl_solve_outf));
  add(table, "aten::linalg_lu_factor_ex", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&, bool, bool)>(&at::meta::linalg_lu_factor_ex));
  add(table, "aten::linalg_lu_factor_ex.out", static_cast<std::tuple<at::Tensor&,at::Tensor&,at::Tensor&> (*)(const at::Tensor&, bool, bool, at::Tensor&, at::Tensor&, at::Tensor&)>(&at::meta::linalg_lu_factor_ex_outf));
  add(table, "aten::linalg_lu", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&, bool)>(&at::meta::linalg_lu));
  add(table, "aten::linalg_lu.out", static_cast<std::tuple<at::Tensor&,at::Tensor&,at::Tensor&> (*)(const at::Tensor&, bool, at::Tensor&, at::Tensor&, at::Tensor&)>(&at::meta::linalg_lu_outf));
  add(table, "aten::linalg_lu_solve", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, bool)>(&at::meta::linalg_lu_solve));
  add(table, "aten::linalg_lu_solve.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, bool, at::Tensor&)>(&at::meta::linalg_lu_solve_outf));
  add(table, "aten::linalg_qr", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, c10::string_view)>(&at::meta::linalg_qr));
  add(table, "aten::linalg_qr.out", static_cast<std::tuple<at::Tensor&,at::Tensor&> (*)(const at::Tensor&, c10::string_view, at::Tensor&, at::Tensor&)>(&at::meta::linalg_qr_outf));
  add(table, "aten::linalg_vector_norm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, at::OptionalIntArrayRef, bool, std::optional<at::ScalarType>)>(&at::meta::linalg_vector_norm));
  add(table, "aten::linalg_vector_norm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::OptionalIntArrayRef, bool, std::optional<at::ScalarType>, at::Tensor&)>(&at::meta::linalg_vector_norm_outf));
  add(table, "aten::linspace.out", static_cast<at::Tensor& (*)(const at::Scalar&, const at::Scalar&, int64_t, at::Tensor&)>(&at::meta::linspace_outf));
  add(table, "aten::log10", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::log10));
  add(table, "aten::log10_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::log10_));
  add(table, "aten::log10.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::log10_outf));
  add(table, "aten::log1p", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::log1p));
  add(table, "aten::log1p_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::log1p_));
  add(table, "aten::log1p.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::log1p_outf));
  add(table, "aten::log2", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::log2));
  add(table, "aten::log2_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::log2_));
  add(table, "aten::log2.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::log2_outf));
  add(table, "aten::log", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::log));
  add(table, "aten::log_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::log_));
  add(table, "aten::log.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::log_outf));
  add(table, "aten::logaddexp2.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::logaddexp2_outf));
  add(table, "aten::logaddexp2", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::logaddexp2));
  add(table, "aten::logaddexp.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::logaddexp_outf));
  add(table, "aten::logaddexp", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::logaddexp));
  add(table, "aten::logit_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, std::optional<double>)>(&at::meta::logit_backward));
  add(table, "aten::logspace.out", static_cast<at::Tensor& (*)(const at::Scalar&, const at::Scalar&, int64_t, double, at::Tensor&)>(&at::meta::logspace_outf));
  add(table, "aten::lt.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::lt_outf));
  add(table, "aten::lt.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::lt));
  add(table, "aten::lt.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::lt_outf));
  add(table, "aten::lt.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::lt));
  add(table, "aten::lt_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::lt_));
  add(table, "aten::lt_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::lt_));
  add(table, "aten::lu_unpack", static_cast<std::tuple<at::Tensor,at::Tensor,at::Tensor> (*)(const at::Tensor&, const at::Tensor&, bool, bool)>(&at::meta::lu_unpack));
  add(table, "aten::lu_unpack.out", static_cast<std::tuple<at::Tensor&,at::Tensor&,at::Tensor&> (*)(const at::Tensor&, const at::Tensor&, bool, bool, at::Tensor&, at::Tensor&, at::Tensor&)>(&at::meta::lu_unpack_outf));
  add(table, "aten::max.dim", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, int64_t, bool)>(&at::meta::max));
  add(table, "aten::max_pool2d_with_indices_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, const at::Tensor&)>(&at::meta::max_pool2d_with_indices_backward));
  add(table, "aten::max_pool2d_with_indices.out", static_cast<std::tuple<at::Tensor&,at::Tensor&> (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, at::Tensor&, at::Tensor&)>(&at::meta::max_pool2d_with_indices_outf));
  add(table, "aten::max_pool2d_with_indices", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool)>(&at::meta::max_pool2d_with_indices));
  add(table, "aten::maximum", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::maximum));
  add(table, "aten::maximum.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::maximum_outf));
  add(table, "aten::mean.dim", static_cast<at::Tensor (*)(const at::Tensor&, at::OptionalIntArrayRef, bool, std::optional<at::ScalarType>)>(&at::meta::mean));
  add(table, "aten::mean.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::OptionalIntArrayRef, bool, std::optional<at::ScalarType>, at::Tensor&)>(&at::meta::mean_outf));
  add(table, "aten::min.dim", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, int64_t, bool)>(&at::meta::min));
  add(table, "aten::minimum", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::minimum));
  add(table, "aten::minimum.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::minimum_outf));
  add(table, "aten::mish", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::mish));
  add(table, "aten::mish_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::mish_));
  add(table, "aten::mish.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::mish_outf));
  add(table, "aten::mm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::mm));
  add(table, "aten::mm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::mm_outf));
  add(table, "aten::mse_loss.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, int64_t, at::Tensor&)>(&at::meta::mse_loss_outf));
  add(table, "aten::mse_loss", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, int64_t)>(&at::meta::mse_loss));
  add(table, "aten::mul.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::mul));
  add(table, "aten::mul_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::mul_));
  add(table, "aten::mul.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::mul_outf));
  add(table, "aten::ne.Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::ne_outf));
  add(table, "aten::ne.Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::ne));
  add(table, "aten::ne.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::ne_outf));
  add(table, "aten::ne.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::ne));
  add(table, "aten::ne_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::ne_));
  add(table, "aten::ne_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::ne_));
  add(table, "aten::neg", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::neg));
  add(table, "aten::neg_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::neg_));
  add(table, "aten::neg.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::neg_outf));
  add(table, "aten::nextafter.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::nextafter_outf));
  add(table, "aten::nextafter", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::nextafter));
  add(table, "aten::nextafter_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::nextafter_));
  add(table, "aten::nll_loss_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, int64_t, int64_t, const at::Tensor&)>(&at::meta::nll_loss_backward));
  add(table, "aten::nll_loss_forward", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, int64_t, int64_t)>(&at::meta::nll_loss_forward));
  add(table, "aten::norm.ScalarOpt_dim_dtype", static_cast<at::Tensor (*)(const at::Tensor&, const std::optional<at::Scalar>&, at::IntArrayRef, bool, at::ScalarType)>(&at::meta::norm));
  add(table, "aten::norm.ScalarOpt_dim", static_cast<at::Tensor (*)(const at::Tensor&, const std::optional<at::Scalar>&, at::IntArrayRef, bool)>(&at::meta::norm));
  add(table, "aten::norm.dtype_out", static_cast<at::Tensor& (*)(const at::Tensor&, const std::optional<at::Scalar>&, at::IntArrayRef, bool, at::ScalarType, at::Tensor&)>(&at::meta::norm_outf));
  add(table, "aten::norm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const std::optional<at::Scalar>&, at::IntArrayRef, bool, at::Tensor&)>(&at::meta::norm_outf));
  add(table, "aten::normal_", static_cast<at::Tensor& (*)(at::Tensor&, double, double, std::optional<at::Generator>)>(&at::meta::normal_));
  add(table, "aten::normal.Tensor_float_out", static_cast<at::Tensor& (*)(const at::Tensor&, double, std::optional<at::Generator>, at::Tensor&)>(&at::meta::normal_outf));
  add(table, "aten::normal.Tensor_float", static_cast<at::Tensor (*)(const at::Tensor&, double, std::optional<at::Generator>)>(&at::meta::normal));
  add(table, "aten::normal.float_Tensor_out", static_cast<at::Tensor& (*)(double, const at::Tensor&, std::optional<at::Generator>, at::Tensor&)>(&at::meta::normal_outf));
  add(table, "aten::normal.float_Tensor", static_cast<at::Tensor (*)(double, const at::Tensor&, std::optional<at::Generator>)>(&at::meta::normal));
  add(table, "aten::normal.Tensor_Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, std::optional<at::Generator>, at::Tensor&)>(&at::meta::normal_outf));
  add(table, "aten::normal.Tensor_Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, std::optional<at::Generator>)>(&at::meta::normal));
  add(table, "aten::polygamma.out", static_cast<at::Tensor& (*)(int64_t, const at::Tensor&, at::Tensor&)>(&at::meta::polygamma_outf));
  add(table, "aten::polygamma", static_cast<at::Tensor (*)(int64_t, const at::Tensor&)>(&at::meta::polygamma));
  add(table, "aten::pow.Tensor_Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::pow_outf));
  add(table, "aten::pow.Tensor_Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::pow));
  add(table, "aten::pow.Scalar_out", static_cast<at::Tensor& (*)(const at::Scalar&, const at::Tensor&, at::Tensor&)>(&at::meta::pow_outf));
  add(table, "aten::pow.Scalar", static_cast<at::Tensor (*)(const at::Scalar&, const at::Tensor&)>(&at::meta::pow));
  add(table, "aten::pow.Tensor_Scalar_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::pow_outf));
  add(table, "aten::pow.Tensor_Scalar", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::pow));
  add(table, "aten::pow_.Scalar", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&)>(&at::meta::pow_));
  add(table, "aten::pow_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::pow_));
  add(table, "aten::prod.dim_int", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, bool, std::optional<at::ScalarType>)>(&at::meta::prod));
  add(table, "aten::prod.int_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, bool, std::optional<at::ScalarType>, at::Tensor&)>(&at::meta::prod_outf));
  add(table, "aten::random_.from", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, std::optional<int64_t>, std::optional<at::Generator>)>(&at::meta::random_));
  add(table, "aten::random_.to", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, std::optional<at::Generator>)>(&at::meta::random_));
  add(table, "aten::random_", static_cast<at::Tensor& (*)(at::Tensor&, std::optional<at::Generator>)>(&at::meta::random_));
  add(table, "aten::range.out", static_cast<at::Tensor& (*)(const at::Scalar&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::range_outf));
  add(table, "aten::reciprocal", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::reciprocal));
  add(table, "aten::reciprocal_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::reciprocal_));
  add(table, "aten::reciprocal.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::reciprocal_outf));
  add(table, "aten::reflection_pad1d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef)>(&at::meta::reflection_pad1d_backward));
  add(table, "aten::reflection_pad1d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&)>(&at::meta::reflection_pad1d_outf));
  add(table, "aten::reflection_pad1d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::reflection_pad1d));
  add(table, "aten::reflection_pad3d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef)>(&at::meta::reflection_pad3d_backward));
  add(table, "aten::reflection_pad3d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&)>(&at::meta::reflection_pad3d_outf));
  add(table, "aten::reflection_pad3d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::reflection_pad3d));
  add(table, "aten::remainder.Tensor_out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::remainder_outf));
  add(table, "aten::remainder.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::remainder));
  add(table, "aten::remainder_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::remainder_));
  add(table, "aten::renorm.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, int64_t, const at::Scalar&, at::Tensor&)>(&at::meta::renorm_outf));
  add(table, "aten::renorm", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, int64_t, const at::Scalar&)>(&at::meta::renorm));
  add(table, "aten::renorm_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&, int64_t, const at::Scalar&)>(&at::meta::renorm_));
  add(table, "aten::replication_pad1d_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef)>(&at::meta::replication_pad1d_backward));
  add(table, "aten::replication_pad1d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&)>(&at::meta::replication_pad1d_outf));
  add(table, "aten::replication_pad1d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::replication_pad1d));
  add(table, "aten::replication_pad2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&)>(&at::meta::replication_pad2d_outf));
  add(table, "aten::replication_pad2d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::replication_pad2d));
  add(table, "aten::replication_pad3d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, at::Tensor&)>(&at::meta::replication_pad3d_outf));
  add(table, "aten::replication_pad3d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::replication_pad3d));
  add(table, "aten::resize_", static_cast<const at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<at::MemoryFormat>)>(&at::meta::resize_));
  add(table, "aten::round", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::round));
  add(table, "aten::round_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::round_));
  add(table, "aten::round.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::round_outf));
  add(table, "aten::round.decimals", static_cast<at::Tensor (*)(const at::Tensor&, int64_t)>(&at::meta::round));
  add(table, "aten::round_.decimals", static_cast<at::Tensor& (*)(at::Tensor&, int64_t)>(&at::meta::round_));
  add(table, "aten::round.decimals_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, at::Tensor&)>(&at::meta::round_outf));
  add(table, "aten::rsqrt", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::rsqrt));
  add(table, "aten::rsqrt_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::rsqrt_));
  add(table, "aten::rsqrt.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::rsqrt_outf));
  add(table, "aten::scatter_add", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&)>(&at::meta::scatter_add));
  add(table, "aten::scatter_add_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&)>(&at::meta::scatter_add_));
  add(table, "aten::scatter_add.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::scatter_add_outf));
  add(table, "aten::scatter.src", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&)>(&at::meta::scatter));
  add(table, "aten::scatter_.src", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&)>(&at::meta::scatter_));
  add(table, "aten::scatter.src_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::scatter_outf));
  add(table, "aten::scatter.value", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Scalar&)>(&at::meta::scatter));
  add(table, "aten::scatter_.value", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Scalar&)>(&at::meta::scatter_));
  add(table, "aten::scatter.value_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::scatter_outf));
  add(table, "aten::scatter.reduce", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view)>(&at::meta::scatter));
  add(table, "aten::scatter_.reduce", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view)>(&at::meta::scatter_));
  add(table, "aten::scatter.reduce_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, at::Tensor&)>(&at::meta::scatter_outf));
  add(table, "aten::scatter.value_reduce", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Scalar&, c10::string_view)>(&at::meta::scatter));
  add(table, "aten::scatter_.value_reduce", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Scalar&, c10::string_view)>(&at::meta::scatter_));
  add(table, "aten::scatter.value_reduce_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Scalar&, c10::string_view, at::Tensor&)>(&at::meta::scatter_outf));
  add(table, "aten::scatter_reduce.two", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, bool)>(&at::meta::scatter_reduce));
  add(table, "aten::scatter_reduce_.two", static_cast<at::Tensor& (*)(at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, bool)>(&at::meta::scatter_reduce_));
  add(table, "aten::scatter_reduce.two_out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, c10::string_view, bool, at::Tensor&)>(&at::meta::scatter_reduce_outf));
  add(table, "aten::set_.source_Storage", static_cast<at::Tensor& (*)(at::Tensor&, at::Storage)>(&at::meta::set_));
  add(table, "aten::set_.source_Storage_storage_offset", static_cast<at::Tensor& (*)(at::Tensor&, at::Storage, int64_t, at::IntArrayRef, at::IntArrayRef)>(&at::meta::set_));
  add(table, "aten::set_.source_Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::set_));
  add(table, "aten::set_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::set_));
  add(table, "aten::sgn", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sgn));
  add(table, "aten::sgn_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sgn_));
  add(table, "aten::sgn.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sgn_outf));
  add(table, "aten::sigmoid_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::sigmoid_backward));
  add(table, "aten::sigmoid", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sigmoid));
  add(table, "aten::sigmoid_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sigmoid_));
  add(table, "aten::sigmoid.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sigmoid_outf));
  add(table, "aten::sign", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sign));
  add(table, "aten::sign_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sign_));
  add(table, "aten::sign.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sign_outf));
  add(table, "aten::signbit", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::signbit));
  add(table, "aten::signbit.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::signbit_outf));
  add(table, "aten::silu_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::silu_backward));
  add(table, "aten::silu", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::silu));
  add(table, "aten::silu_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::silu_));
  add(table, "aten::silu.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::silu_outf));
  add(table, "aten::sin", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sin));
  add(table, "aten::sin_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sin_));
  add(table, "aten::sin.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sin_outf));
  add(table, "aten::sinc", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sinc));
  add(table, "aten::sinc_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sinc_));
  add(table, "aten::sinc.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sinc_outf));
  add(table, "aten::sinh", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sinh));
  add(table, "aten::sinh_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sinh_));
  add(table, "aten::sinh.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sinh_outf));
  add(table, "aten::slow_conv_transpose2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, const std::optional<at::Tensor>&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::Tensor&)>(&at::meta::slow_conv_transpose2d_outf));
  add(table, "aten::slow_conv_transpose2d", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, at::IntArrayRef, const std::optional<at::Tensor>&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef)>(&at::meta::slow_conv_transpose2d));
  add(table, "aten::smooth_l1_loss.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, int64_t, double, at::Tensor&)>(&at::meta::smooth_l1_loss_outf));
  add(table, "aten::smooth_l1_loss", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, int64_t, double)>(&at::meta::smooth_l1_loss));
  add(table, "aten::softplus_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::softplus_backward));
  add(table, "aten::softplus.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::softplus_outf));
  add(table, "aten::softplus", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::softplus));
  add(table, "aten::softshrink_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::softshrink_backward));
  add(table, "aten::softshrink.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::softshrink_outf));
  add(table, "aten::softshrink", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&)>(&at::meta::softshrink));
  add(table, "aten::sort.stable", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, std::optional<bool>, int64_t, bool)>(&at::meta::sort));
  add(table, "aten::special_airy_ai", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_airy_ai));
  add(table, "aten::special_airy_ai.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_airy_ai_outf));
  add(table, "aten::special_bessel_j0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_bessel_j0));
  add(table, "aten::special_bessel_j0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_bessel_j0_outf));
  add(table, "aten::special_bessel_j1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_bessel_j1));
  add(table, "aten::special_bessel_j1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_bessel_j1_outf));
  add(table, "aten::special_bessel_y0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_bessel_y0));
  add(table, "aten::special_bessel_y0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_bessel_y0_outf));
  add(table, "aten::special_bessel_y1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_bessel_y1));
  add(table, "aten::special_bessel_y1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_bessel_y1_outf));
  add(table, "aten::special_chebyshev_polynomial_t", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_chebyshev_polynomial_t));
  add(table, "aten::special_chebyshev_polynomial_t.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_chebyshev_polynomial_t_outf));
  add(table, "aten::special_chebyshev_polynomial_u", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_chebyshev_polynomial_u));
  add(table, "aten::special_chebyshev_polynomial_u.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_chebyshev_polynomial_u_outf));
  add(table, "aten::special_chebyshev_polynomial_v", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_chebyshev_polynomial_v));
  add(table, "aten::special_chebyshev_polynomial_v.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_chebyshev_polynomial_v_outf));
  add(table, "aten::special_chebyshev_polynomial_w", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_chebyshev_polynomial_w));
  add(table, "aten::special_chebyshev_polynomial_w.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_chebyshev_polynomial_w_outf));
  add(table, "aten::special_entr", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_entr));
  add(table, "aten::special_entr.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_entr_outf));
  add(table, "aten::special_erfcx", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_erfcx));
  add(table, "aten::special_erfcx.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_erfcx_outf));
  add(table, "aten::special_hermite_polynomial_h", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_hermite_polynomial_h));
  add(table, "aten::special_hermite_polynomial_h.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_hermite_polynomial_h_outf));
  add(table, "aten::special_hermite_polynomial_he", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_hermite_polynomial_he));
  add(table, "aten::special_hermite_polynomial_he.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_hermite_polynomial_he_outf));
  add(table, "aten::special_i0e", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_i0e));
  add(table, "aten::special_i0e.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_i0e_outf));
  add(table, "aten::special_i1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_i1));
  add(table, "aten::special_i1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_i1_outf));
  add(table, "aten::special_i1e", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_i1e));
  add(table, "aten::special_i1e.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_i1e_outf));
  add(table, "aten::special_laguerre_polynomial_l", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_laguerre_polynomial_l));
  add(table, "aten::special_laguerre_polynomial_l.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_laguerre_polynomial_l_outf));
  add(table, "aten::special_legendre_polynomial_p", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_legendre_polynomial_p));
  add(table, "aten::special_legendre_polynomial_p.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_legendre_polynomial_p_outf));
  add(table, "aten::special_log_ndtr", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_log_ndtr));
  add(table, "aten::special_log_ndtr.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_log_ndtr_outf));
  add(table, "aten::special_modified_bessel_i0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_modified_bessel_i0));
  add(table, "aten::special_modified_bessel_i0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_modified_bessel_i0_outf));
  add(table, "aten::special_modified_bessel_i1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_modified_bessel_i1));
  add(table, "aten::special_modified_bessel_i1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_modified_bessel_i1_outf));
  add(table, "aten::special_modified_bessel_k0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_modified_bessel_k0));
  add(table, "aten::special_modified_bessel_k0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_modified_bessel_k0_outf));
  add(table, "aten::special_modified_bessel_k1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_modified_bessel_k1));
  add(table, "aten::special_modified_bessel_k1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_modified_bessel_k1_outf));
  add(table, "aten::special_ndtri", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_ndtri));
  add(table, "aten::special_ndtri.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_ndtri_outf));
  add(table, "aten::special_scaled_modified_bessel_k0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_scaled_modified_bessel_k0));
  add(table, "aten::special_scaled_modified_bessel_k0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_scaled_modified_bessel_k0_outf));
  add(table, "aten::special_scaled_modified_bessel_k1", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_scaled_modified_bessel_k1));
  add(table, "aten::special_scaled_modified_bessel_k1.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_scaled_modified_bessel_k1_outf));
  add(table, "aten::special_shifted_chebyshev_polynomial_t", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_t));
  add(table, "aten::special_shifted_chebyshev_polynomial_t.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_t_outf));
  add(table, "aten::special_shifted_chebyshev_polynomial_u", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_u));
  add(table, "aten::special_shifted_chebyshev_polynomial_u.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_u_outf));
  add(table, "aten::special_shifted_chebyshev_polynomial_v", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_v));
  add(table, "aten::special_shifted_chebyshev_polynomial_v.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_v_outf));
  add(table, "aten::special_shifted_chebyshev_polynomial_w", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_w));
  add(table, "aten::special_shifted_chebyshev_polynomial_w.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_shifted_chebyshev_polynomial_w_outf));
  add(table, "aten::special_spherical_bessel_j0", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::special_spherical_bessel_j0));
  add(table, "aten::special_spherical_bessel_j0.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::special_spherical_bessel_j0_outf));
  add(table, "aten::special_xlog1py", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_xlog1py));
  add(table, "aten::special_xlog1py.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_xlog1py_outf));
  add(table, "aten::special_zeta", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::special_zeta));
  add(table, "aten::special_zeta.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, at::Tensor&)>(&at::meta::special_zeta_outf));
  add(table, "aten::sqrt", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::sqrt));
  add(table, "aten::sqrt_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::sqrt_));
  add(table, "aten::sqrt.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::sqrt_outf));
  add(table, "aten::sub.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&, at::Tensor&)>(&at::meta::sub_outf));
  add(table, "aten::sub.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::sub));
  add(table, "aten::sub_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::sub_));
  add(table, "aten::sum.dim_IntList", static_cast<at::Tensor (*)(const at::Tensor&, at::OptionalIntArrayRef, bool, std::optional<at::ScalarType>)>(&at::meta::sum));
  add(table, "aten::sum.IntList_out", static_cast<at::Tensor& (*)(const at::Tensor&, at::OptionalIntArrayRef, bool, std::optional<at::ScalarType>, at::Tensor&)>(&at::meta::sum_outf));
  add(table, "aten::tan", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::tan));
  add(table, "aten::tan_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::tan_));
  add(table, "aten::tan.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::tan_outf));
  add(table, "aten::tanh_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::tanh_backward));
  add(table, "aten::tanh", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::tanh));
  add(table, "aten::tanh_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::tanh_));
  add(table, "aten::tanh.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::tanh_outf));
  add(table, "aten::threshold_backward", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Scalar&)>(&at::meta::threshold_backward));
  add(table, "aten::threshold", static_cast<at::Tensor (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::threshold));
  add(table, "aten::threshold_", static_cast<at::Tensor& (*)(at::Tensor&, const at::Scalar&, const at::Scalar&)>(&at::meta::threshold_));
  add(table, "aten::threshold.out", static_cast<at::Tensor& (*)(const at::Tensor&, const at::Scalar&, const at::Scalar&, at::Tensor&)>(&at::meta::threshold_outf));
  add(table, "aten::topk", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, int64_t, int64_t, bool, bool)>(&at::meta::topk));
  add(table, "aten::triangular_solve", static_cast<std::tuple<at::Tensor,at::Tensor> (*)(const at::Tensor&, const at::Tensor&, bool, bool, bool)>(&at::meta::triangular_solve));
  add(table, "aten::tril_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t)>(&at::meta::tril_));
  add(table, "aten::tril.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, at::Tensor&)>(&at::meta::tril_outf));
  add(table, "aten::tril", static_cast<at::Tensor (*)(const at::Tensor&, int64_t)>(&at::meta::tril));
  add(table, "aten::triu_", static_cast<at::Tensor& (*)(at::Tensor&, int64_t)>(&at::meta::triu_));
  add(table, "aten::triu.out", static_cast<at::Tensor& (*)(const at::Tensor&, int64_t, at::Tensor&)>(&at::meta::triu_outf));
  add(table, "aten::triu", static_cast<at::Tensor (*)(const at::Tensor&, int64_t)>(&at::meta::triu));
  add(table, "aten::trunc", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::trunc));
  add(table, "aten::trunc_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::trunc_));
  add(table, "aten::trunc.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::Tensor&)>(&at::meta::trunc_outf));
  add(table, "aten::unfold", static_cast<at::Tensor (*)(const at::Tensor&, int64_t, int64_t, int64_t)>(&at::meta::unfold));
  add(table, "aten::uniform_", static_cast<at::Tensor& (*)(at::Tensor&, double, double, std::optional<at::Generator>)>(&at::meta::uniform_));
  add(table, "aten::upsample_bicubic2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::upsample_bicubic2d_backward));
  add(table, "aten::upsample_bicubic2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::upsample_bicubic2d_outf));
  add(table, "aten::upsample_bicubic2d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::upsample_bicubic2d));
  add(table, "aten::upsample_bilinear2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::upsample_bilinear2d_backward));
  add(table, "aten::upsample_bilinear2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::upsample_bilinear2d_outf));
  add(table, "aten::upsample_bilinear2d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>)>(&at::meta::upsample_bilinear2d));
  add(table, "aten::upsample_linear1d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>)>(&at::meta::upsample_linear1d_backward));
  add(table, "aten::upsample_linear1d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, at::Tensor&)>(&at::meta::upsample_linear1d_outf));
  add(table, "aten::upsample_linear1d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>)>(&at::meta::upsample_linear1d));
  add(table, "aten::upsample_nearest1d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<double>)>(&at::meta::upsample_nearest1d_backward));
  add(table, "aten::upsample_nearest1d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, at::Tensor&)>(&at::meta::upsample_nearest1d_outf));
  add(table, "aten::upsample_nearest1d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>)>(&at::meta::upsample_nearest1d));
  add(table, "aten::upsample_nearest2d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<double>, std::optional<double>)>(&at::meta::upsample_nearest2d_backward));
  add(table, "aten::upsample_nearest2d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::upsample_nearest2d_outf));
  add(table, "aten::upsample_nearest2d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>)>(&at::meta::upsample_nearest2d));
  add(table, "aten::upsample_nearest3d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, std::optional<double>, std::optional<double>, std::optional<double>)>(&at::meta::upsample_nearest3d_backward));
  add(table, "aten::upsample_nearest3d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::upsample_nearest3d_outf));
  add(table, "aten::upsample_nearest3d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, std::optional<double>, std::optional<double>, std::optional<double>)>(&at::meta::upsample_nearest3d));
  add(table, "aten::upsample_trilinear3d_backward", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, std::optional<double>)>(&at::meta::upsample_trilinear3d_backward));
  add(table, "aten::upsample_trilinear3d.out", static_cast<at::Tensor& (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, std::optional<double>, at::Tensor&)>(&at::meta::upsample_trilinear3d_outf));
  add(table, "aten::upsample_trilinear3d", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef, bool, std::optional<double>, std::optional<double>, std::optional<double>)>(&at::meta::upsample_trilinear3d));
  add(table, "aten::view_as_complex", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::view_as_complex));
  add(table, "aten::view_as_real", static_cast<at::Tensor (*)(const at::Tensor&)>(&at::meta::view_as_real));
  add(table, "aten::view", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::meta::view));
  add(table, "aten::xlogy.Tensor", static_cast<at::Tensor (*)(const at::Tensor&, const at::Tensor&)>(&at::meta::xlogy));
  add(table, "aten::xlogy_.Tensor", static_cast<at::Tensor& (*)(at::Tensor&, const at::Tensor&)>(&at::meta::xlogy_));
  add(table, "aten::zero_", static_cast<at::Tensor& (*)(at::Tensor&)>(&at::meta::zero_));
  return table;
}

} // namespace

const c10::KernelFunction* find_meta(const std::string& full_name) {
  static const Table* table = new Table(make_table());
  const auto found = table->find(full_name);
  return found == table->end() ? nullptr : &found->second;
}

} // namespace remote
