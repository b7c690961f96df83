"""Every setting of a run, typed: one section a room. The defaults are the paper's ViT-S/14 recipe.

Sources: "paper, N" is a section of the paper; "DINOv2" is what the paper refers to for what it leaves out; the rest is
our choice.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .pretrained import Pretrained, PretrainedShape, pretrained_shape

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0.0)]
Above0 = Annotated[float, Field(gt=0.0)]

LEAST_SHOT = 1e-6  # shot noise of a thousandth of full scale, at full scale; the tables of less would fill memory


class Section(BaseModel):
    """A recipe's section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PlatesRecipe(Section):
    """How sites are read."""

    tile: Positive = Field(1, description="Cut each site into tile x tile pseudo-sites")
    percentiles: tuple[float, float] = Field(
        (0.1, 99.9), description="Raw intensities that become 0 and 1, per plate and channel (percent)"
    )
    scale_sites: Positive = Field(64, description="Sites a plate that the percentiles are measured on")
    flat_field: Literal["off", "retrospective"] = Field(
        "off", description="Divide sites by their plate's illumination, measured per channel on many sites (our choice)"
    )
    flat_field_sites: Annotated[int, Field(ge=16)] = Field(
        100, description="Sites a plate that the illumination is measured on"
    )
    memory_gb: NonNegative = Field(2.0, description="Decoded sites kept in memory while training, in GB")
    prefetch: Positive = Field(2, description="Steps whose sites are read ahead; memory holds one step more")
    bad_sites: Fraction = Field(
        0.05, description="Share of sites that may be unreadable when training meets them; above it the run stops"
    )

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> Self:
        low, high = self.percentiles
        if not 0.0 <= low < high <= 100.0:
            raise ValueError("percentiles must ascend within 0 to 100")
        return self


class ModelRecipe(Section):
    """The backbone and the projection head (paper 4.1; DINOv2)."""

    pretrained: Pretrained = Field(
        "none",
        description="Start from this pretrained DINOv2 or DINOv3 model of timm's; the backbone then has its shape",
    )
    pretrained_file: str = Field("", description="Its weights in a file (.safetensors); empty: timm downloads them")
    width: Positive = Field(384, description="Embedding width of the vision transformer")
    depth: Positive = Field(12, description="Transformer blocks")
    heads: Positive = Field(6, description="Attention heads")
    patch: Positive = Field(14, description="Patch size in pixels")
    layer_scale: NonNegative = Field(1e-5, description="Initial layer scale; 0 switches it off")
    drop_path: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.3, description="Stochastic depth rate (student)")
    init: Literal["dinov2", "fan_in"] = Field(
        "dinov2", description="Initial weights: N(0, 0.02), or N(0, 1/fan_in) which tiny networks need"
    )
    patch_gain: Above0 = Field(1.0, description="Factor on the initial patch-embedding weights")
    prototypes: Annotated[int, Field(ge=2)] = Field(65536, description="Prototypes of the projection head")
    head_hidden: Positive = Field(2048, description="Hidden width of the projection head")
    head_bottleneck: Positive = Field(256, description="Bottleneck width of the projection head")
    head_norm: bool = Field(False, description="Batch normalisation in the projection head")
    separate_ibot_head: bool = Field(False, description="Give iBOT a projection head of its own")

    @model_validator(mode="before")
    @classmethod
    def _pretrained_shape(cls, given: Any) -> Any:
        if isinstance(given, dict) and (name := given.get("pretrained", "none")) in get_args(Pretrained)[1:]:
            shape = pretrained_shape(name)
            return {**given, "width": shape.width, "depth": shape.depth, "heads": shape.heads, "patch": shape.patch}
        return given

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.pretrained_file and not self.starts_pretrained:
            raise ValueError("pretrained_file needs pretrained, the name of the model that it holds")
        return self

    @property
    def starts_pretrained(self) -> bool:
        """Whether the backbone is a pretrained model's."""
        return self.pretrained != "none"

    @property
    def shape(self) -> PretrainedShape:
        """The backbone's shape; from scratch it has SwiGLU and no registers (paper 4.1)."""
        if self.starts_pretrained:
            return pretrained_shape(self.pretrained)
        return PretrainedShape(self.width, self.depth, self.heads, self.patch, self.hidden, True, 0, True)

    def kept_rows(self, batch: int) -> int:
        """How many of a batch's rows each residual branch of the student sees; stochastic depth drops the others."""
        return max(int(batch * (1.0 - self.drop_path)), 1)

    @property
    def hidden(self) -> int:
        """SwiGLU's hidden width from scratch, as in DINOv2: two thirds of 4 x width, up to a multiple of 8."""
        return (int(self.width * 8 / 3) + 7) // 8 * 8


class AugmentRecipe(Section):
    """How a site becomes a view (paper 3.2.2 and 6; DINOv2)."""

    kind: Literal["paper", "dinov2"] = Field(
        "paper",
        description="Whose views: the paper's, or DINOv2's own (crop, horizontal flip, jitter of all channels alike, "
        "blur, solarise), which then default to two crops of one site and 8 local crops",
    )
    size: Positive = Field(518, description="Side of a view in pixels")
    crop: tuple[float, float] = Field((0.32, 1.0), description="Area of the crop as a fraction of the site")
    aspect: tuple[float, float] = Field((0.75, 4 / 3), description="Aspect ratio of the crop, width / height")
    flip: Fraction = Field(0.5, description="Probability of each flip")
    rotation: Fraction = Field(1.0, description="Probability of a rotation by any angle")
    elastic: Fraction = Field(0.5, description="Probability of elastic deformation (paper 6.2)")
    elastic_alpha: NonNegative = Field(1200.0, description="Elastic magnitude alpha in site pixels (paper 6.2)")
    elastic_sigma: Above0 = Field(40.0, description="Elastic smoothness sigma in site pixels (paper 6.2)")
    jitter: Fraction = Field(0.8, description="Probability of brightness and contrast jitter (paper 3.2.2)")
    brightness: NonNegative = Field(0.4, description="Maximum brightness change alpha_b (paper 3.2.2)")
    contrast: NonNegative = Field(0.4, description="Maximum contrast change alpha_c (paper 3.2.2)")
    noise: Fraction = Field(0.5, description="Probability of microscope noise (paper 6.1)")
    noise_shot: Annotated[float, Field(ge=LEAST_SHOT)] = Field(0.1, description="Shot noise scale (paper 6.1)")
    noise_dark: NonNegative = Field(0.05, description="Dark level (paper 6.1)")
    noise_read: NonNegative = Field(0.01, description="Standard deviation of the read noise (paper 6.1)")
    blur: tuple[Fraction, Fraction] = Field(
        (1.0, 0.1),  # as DINOv2 states them; its code gives torchvision 1 - p, and so blurs with 0 and 0.9
        description="Probability of a Gaussian blur of v1 and of v2 (DINOv2's views)",
    )
    blur_local: Fraction = Field(0.5, description="Probability of a Gaussian blur of a local crop (DINOv2's views)")
    blur_sigma: tuple[Above0, Above0] = Field(
        (0.1, 2.0), description="Standard deviation of the blur in pixels of the view (DINOv2's views)"
    )
    solarise: tuple[Fraction, Fraction] = Field(
        (0.0, 0.2), description="Probability of solarising v1 and v2 (DINOv2's views)"
    )
    solarise_above: Fraction = Field(128 / 255, description="Intensity from which solarising inverts (DINOv2's views)")
    local_crops: Annotated[int, Field(ge=0)] = Field(
        0, description="Local crops of v1's site, for the student alone; DINOv2 takes 8"
    )
    local_size: Positive = Field(98, description="Side of a local crop in pixels (DINOv2)")
    local_crop: tuple[float, float] = Field(
        (0.05, 0.32), description="Area of a local crop as a fraction of the site (DINOv2)"
    )
    standardise: bool = Field(
        False, description="Give each view and channel mean 0 and deviation 1; erases intensity phenotypes"
    )
    local_aggregation: bool = Field(
        True, description="Take v2 from another site of the well (paper 3.2.1); off: from the same site"
    )

    @model_validator(mode="before")
    @classmethod
    def _dinov2_defaults(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == "dinov2":
            return {"local_aggregation": False, "local_crops": 8, **given}
        return given

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name, (low, high) in (("crop", self.crop), ("local_crop", self.local_crop)):
            if not 0.0 < low <= high <= 1.0:
                raise ValueError(f"{name} must ascend within 0 to 1")
        if self.blur_sigma[0] > self.blur_sigma[1]:
            raise ValueError("blur_sigma must ascend")
        if not 0.0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError("aspect must ascend and be positive")
        return self


class LossRecipe(Section):
    """The objective (paper 3.2.1; DINOv2)."""

    dino_masked: NonNegative = Field(1.0, description="Weight of DINO between masked v1 and v1 (paper 3.2.1)")
    dino_local: NonNegative = Field(
        1.0, description="Weight of DINO between v2 and v1: local aggregation (paper 3.2.1)"
    )
    dino_crops: NonNegative = Field(
        1.0, description="Weight of DINO between local crops and both views, where there are any (DINOv2)"
    )
    ibot: NonNegative = Field(1.0, description="lambda1, the weight of iBOT (paper 3.2.1)")
    koleo: NonNegative = Field(0.1, description="lambda2, the weight of KoLeo (paper 3.2.1)")
    student_temperature: Above0 = Field(0.1, description="Temperature of the student's softmax")
    teacher_temperature: tuple[float, float] = Field((0.04, 0.07), description="Teacher temperature, first and last")
    teacher_warmup: Fraction = Field(0.3, description="Part of the run over which the teacher temperature rises")
    centering: Literal["sinkhorn", "softmax"] = Field("sinkhorn", description="How teacher assignments are balanced")
    sinkhorn_iterations: Positive = Field(3, description="Sinkhorn-Knopp iterations")
    centre_momentum: Fraction = Field(0.9, description="Momentum of the centre (softmax centering)")
    mask_images: Fraction = Field(0.5, description="Part of the views that are masked")
    mask_ratio: tuple[float, float] = Field((0.1, 0.5), description="Masked part of a masked view's patches")

    @model_validator(mode="after")
    def _temperatures(self) -> Self:
        if min(self.teacher_temperature) <= 0.0:
            raise ValueError("teacher_temperature must be positive")
        if not 0.0 <= self.mask_ratio[0] <= self.mask_ratio[1] < 1.0:
            raise ValueError("mask_ratio must ascend within 0 to 1")
        return self


class TrainRecipe(Section):
    """The optimisation (paper 4.1; DINOv2)."""

    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of everything random")
    epochs: Positive = Field(100, description="Passes over the sites (paper 4.1)")
    steps: Annotated[int, Field(ge=0)] = Field(0, description="Length of the run in steps; 0: epochs decide")
    batch: Annotated[int, Field(ge=2)] = Field(128, description="Site pairs a step (paper 4.1)")
    plate_batches: bool = Field(
        False, description="Draw each batch from one plate where it fills one: telling plates apart is then no help"
    )
    lr: Above0 = Field(2e-5, description="Peak learning rate, used as it is (paper 4.1)")
    lr_final: NonNegative = Field(1e-6, description="Learning rate at the end of the cosine")
    warmup: Fraction = Field(
        0.1, description="Part of the run with a rising learning rate (paper 4.1: 10 of 100 epochs)"
    )
    weight_decay: tuple[NonNegative, NonNegative] = Field(
        (0.04, 0.4), description="Weight decay, first and last (cosine)"
    )
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.9, description="Learning-rate factor from block to block"
    )
    patch_embed_lr: NonNegative = Field(0.2, description="Learning-rate factor of the patch embedding")
    momentum: tuple[Fraction, Fraction] = Field((0.992, 1.0), description="Teacher momentum, first and last (cosine)")
    clip: Above0 = Field(3.0, description="Gradient norm limit of each module")
    freeze_last_layer: Fraction = Field(0.01, description="Part of the run in which the prototypes do not move")
    accumulate: Positive = Field(
        1,
        description="Parts that a batch is computed in, one after the other, to save memory. It equals the whole batch "
        "with softmax centering and without KoLeo, head_norm and drop path, and differs otherwise",
    )
    precision: Literal["bf16", "float32", "float64"] = Field(
        "bf16", description="Arithmetic of the networks; losses are float32. float64 is slow, for comparing runs"
    )
    activation_checkpointing: bool = Field(
        False, description="Compute each block again for its gradients: much less memory, about a third more time"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="Compile the transformer's blocks; auto: on a GPU, in runs of 1,000 steps or more"
    )
    tensorboard: bool = Field(False, description="Write curves for TensorBoard, too, into the run's tensorboard folder")
    threads: Annotated[int, Field(ge=0)] = Field(0, description="CPU threads of the run; 0: torch decides")
    checkpoint_minutes: Above0 = Field(15.0, description="Minutes between checkpoints")
    checkpoint_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps between checkpoints; 0: by time alone")
    knn_checks: Annotated[int, Field(ge=0)] = Field(
        20, description="Times in a run that nearest neighbours are checked, and once before it; 0: never"
    )
    knn_sites: Annotated[int, Field(ge=4)] = Field(512, description="Sites that a nearest-neighbour check embeds")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.seed >= 2**63:
            raise ValueError("seed must be below 2^63")
        if self.accumulate > 1 and self.batch % (2 * self.accumulate):
            raise ValueError(
                f"batch {self.batch} cannot be cut into accumulate = {self.accumulate} parts of site pairs"
            )
        return self


class EmbedRecipe(Section):
    """How plates are embedded."""

    size: Annotated[int, Field(ge=0)] = Field(0, description="Side of the whole site given to the model; 0: the view's")
    batch: Positive = Field(32, description="Sites a forward pass")


class Recipe(Section):
    """Every setting of a run."""

    plates: PlatesRecipe = PlatesRecipe()
    model: ModelRecipe = ModelRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    loss: LossRecipe = LossRecipe()
    train: TrainRecipe = TrainRecipe()
    embed: EmbedRecipe = EmbedRecipe()

    @model_validator(mode="after")
    def _sizes_fit_patches(self) -> Self:
        sides = [("augment.size", self.augment.size), ("embed.size", self.embed_size)]
        if self.augment.local_crops:
            sides.append(("augment.local_size", self.augment.local_size))
        for name, size in sides:
            if size % self.model.patch:
                raise ValueError(f"{name} = {size} is not a multiple of model.patch = {self.model.patch}")
        return self

    @model_validator(mode="after")
    def _something_is_learned(self) -> Self:
        loss = self.loss
        crops = loss.dino_crops if self.augment.local_crops else 0.0
        if not (loss.dino_masked or loss.dino_local or loss.ibot or crops):
            raise ValueError("loss.dino_masked, loss.dino_local and loss.ibot are all 0: nothing would be learned")
        return self

    @property
    def embed_size(self) -> int:
        """Side in pixels at which whole sites are embedded."""
        return self.embed.size or self.augment.size
