"""Small copies of the reference models, saved as the real ones are.

The classes, files and processors are those of transformers; only the sizes are small. The detector
is built to answer with one box; SAM 2 and ViTPose are fitted to a few pictures in half a minute, so
that their output can be judged; SAM 3 stays random. Needs the environment of `make
test-reference`.
"""

import numpy as np
import torch
import transformers

from pantograph import landmarks
from pantograph.conventions import COCO_WHOLEBODY, MEDIAPIPE_LANDMARKS

SIDE = 128
"""Pictures that the small SAM 2 sees, px."""


def save(folder, model, processor):
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def detector(folder, box, words=("person",)):
    """GroundingDINO that finds one box in every picture: centre x, y, width and height, over the
    picture's."""
    vocabulary = [f"[unused{i}]" for i in range(1040)]
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    # the ids that GroundingDINO takes for the ends of a phrase
    special |= {1012: ".", 1029: "?"} | {1030 + i: word for i, word in enumerate(words)}
    for i, word in special.items():
        vocabulary[i] = word
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    torch.manual_seed(0)
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=32,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 4, 8],
            window_size=4,
            out_indices=[4],
        ),
        text_config=transformers.BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        decoder_bbox_embed_share=False,
        num_queries=1,
        num_feature_levels=1,
        max_text_len=32,
    )
    model = transformers.GroundingDinoForObjectDetection(config).eval()
    # one cell of 32 px gives one proposal in the middle; the heads add a constant to it
    pictures = transformers.GroundingDinoImageProcessor(size={"height": 32, "width": 32})
    processor = transformers.GroundingDinoProcessor(pictures, tokenizer)
    proposal = torch.tensor([0.5, 0.5, 0.05, 0.05])
    with torch.no_grad():
        for head in (model.bbox_embed[0], model.model.encoder_output_bbox_embed):
            head.layers[-1].weight.zero_()
            head.layers[-1].bias.zero_()
        moved = torch.logit(torch.tensor(box, dtype=torch.float32)) - torch.logit(proposal)
        model.bbox_embed[0].layers[-1].bias.copy_(moved)
        blank = np.full((48, 32, 3), 127, np.uint8)
        inputs = processor(images=blank, text=f"{words[0]}.", return_tensors="pt")
        if model(**inputs).logits[0, 0, 1] < 0:
            model.model.decoder.layer_norm.weight.neg_()
            model.model.decoder.layer_norm.bias.neg_()
    return save(folder, model, processor)


def sam2_config():
    vision = transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(
            hidden_size=16,
            num_attention_heads=1,
            embed_dim_per_stage=[16, 32, 64, 128],
            num_attention_heads_per_stage=[1, 2, 4, 8],
            image_size=[SIDE, SIDE],
        ),
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
    )
    config = transformers.Sam2VideoConfig(
        vision_config=vision,
        image_size=SIDE,
        memory_attention_rope_feat_sizes=[SIDE // 16, SIDE // 16],
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_fuser_num_layers=1,
        # one mask per prompt and frame
        multimask_output_for_tracking=False,
    )
    config.prompt_encoder_config.image_size = SIDE
    config.mask_decoder_config.dynamic_multimask_via_stability = False
    return config


def sam2_processor():
    size = {"height": SIDE, "width": SIDE}
    return transformers.Sam2VideoProcessor(
        transformers.Sam2ImageProcessor(size=size),
        transformers.Sam2VideoVideoProcessor(size=size),
        target_size=SIDE,
    )


def sam2(folder, pictures, masks, steps=80):
    """SAM 2 that masks what `masks` (n, H, W) show in `pictures` (n, H, W, 3), with a prompt or
    without."""
    torch.manual_seed(0)
    model = transformers.Sam2VideoModel(sam2_config())
    processor = sam2_processor()
    pixels = processor.video_processor(videos=list(pictures), return_tensors="pt")
    pixels = pixels.pixel_values_videos[0]
    target = torch.nn.functional.interpolate(
        torch.as_tensor(np.asarray(masks), dtype=torch.float32)[:, None],
        size=(SIDE // 4, SIDE // 4),
        mode="area",
    )
    with torch.no_grad():
        # what was masked before adds nothing, and the person is there
        for layer in model.memory_attention.layers:
            for part in (layer.self_attn.o_proj, layer.cross_attn_image.o_proj, layer.linear2):
                part.weight.zero_()
                part.bias.zero_()
        present = model.mask_decoder.pred_obj_score_head.proj_out
        present.weight.zero_()
        present.bias.fill_(10.0)
    for part in (model.memory_attention, present):
        part.requires_grad_(False)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-3)
    rng = np.random.default_rng(0)
    model.train()
    for step in range(steps):
        chosen = torch.as_tensor(rng.choice(len(pixels), 4, replace=False))
        features = _features(model, pixels[chosen], tracked=step % 2 == 1)
        out = model._single_frame_forward(image_embeddings=features, multimask_output=False)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(out.pred_masks, target[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return save(folder, model, processor)


def sam3(folder, side=224):
    """SAM 3 with random weights."""
    torch.manual_seed(0)
    cells = side // 14
    vision = transformers.Sam3VisionConfig(
        backbone_config=transformers.Sam3ViTConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            pretrain_image_size=side,
            window_size=4,
            global_attn_indexes=[1],
        ),
        backbone_feature_sizes=[[scale * cells] * 2 for scale in (4, 2, 1)],
    )
    detector = transformers.Sam3Config(
        vision_config=vision,
        text_config=transformers.CLIPTextConfig(
            vocab_size=200,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            projection_dim=32,
            bos_token_id=0,
            eos_token_id=1,
        ),
    )
    for part in (
        *(detector.geometry_encoder_config, detector.detr_encoder_config),
        detector.detr_decoder_config,
    ):
        part.num_layers, part.intermediate_size = 1, 64
    detector.detr_decoder_config.num_queries = 3
    tracker = transformers.Sam3TrackerVideoConfig(
        vision_config=vision,
        image_size=side,
        memory_attention_rope_feat_sizes=[cells, cells],
        memory_attention_num_layers=1,
    )
    model = transformers.Sam3VideoModel(
        transformers.Sam3VideoConfig(
            detector_config=detector, tracker_config=tracker, low_res_mask_size=4 * cells
        )
    )
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    size = {"height": side, "width": side}
    processor = transformers.Sam3VideoProcessor(
        transformers.Sam3ImageProcessor(size=size),
        transformers.Sam2VideoVideoProcessor(size=size),
        transformers.CLIPTokenizer({word: i for i, word in enumerate(vocabulary)}, []),
        target_size=side,
    )
    return save(folder, model, processor)


def vitpose(path, pictures, boxes, keypoints, steps=150):
    """ViTPose that reads the keypoints (n, 33, 2) px of mediapipe's names in `pictures`, as a
    checkpoint of its authors.

    boxes: (n, 4) x0 y0 x1 y1 px. Keypoints of other names have no peak.
    """
    torch.manual_seed(0)
    model = transformers.VitPoseForPoseEstimation(
        transformers.VitPoseConfig(
            backbone_config=transformers.VitPoseBackboneConfig(
                hidden_size=96,
                num_hidden_layers=2,
                num_attention_heads=12,
                layer_norm_eps=1e-6,
                out_indices=[2],
            ),
            num_labels=len(COCO_WHOLEBODY),
        )
    )
    processor = transformers.VitPoseImageProcessor()
    named = {
        landmarks.find(COCO_WHOLEBODY, name): i
        for i, name in enumerate(MEDIAPIPE_LANDMARKS)
        if landmarks.find(COCO_WHOLEBODY, name) is not None
    }
    rng = np.random.default_rng(0)
    pixels, heatmaps = [], []
    for picture, box, points in zip(pictures, boxes, keypoints, strict=True):
        for _ in range(3):
            centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            centre = centre + rng.uniform(-0.06, 0.06, 2) * size
            size = size * rng.uniform(0.9, 1.15)
            place = np.concatenate([centre - size / 2, size])
            pixels.append(
                processor(images=[picture], boxes=[[place.tolist()]], return_tensors="pt")
            )
            # the crop: the box grown to 3:4 and by a quarter
            height = 1.25 * max(size[1], size[0] * 4 / 3)
            crop = np.array([height * 0.75, height])
            cells = (points - centre + crop / 2) / crop * [47, 63]
            heatmaps.append(_peaks(cells[list(named.values())]))
    pixels = torch.cat([item["pixel_values"] for item in pixels])
    heatmaps = torch.as_tensor(np.stack(heatmaps), dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    rows, conv = list(named), model.head.conv
    model.train()
    for _ in range(steps):
        chosen = torch.as_tensor(rng.choice(len(pixels), 12, replace=False))
        seen = model.backbone(pixels[chosen]).feature_maps[-1]
        seen = seen.permute(0, 2, 1).reshape(len(chosen), -1, 16, 12)
        seen = model.head.upsampling(model.head.activation(seen))
        found = torch.nn.functional.conv2d(seen, conv.weight[rows], conv.bias[rows], padding=1)
        loss = ((found - heatmaps[chosen]) ** 2 * (1 + 20 * heatmaps[chosen])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    others = [i for i in range(len(COCO_WHOLEBODY)) if i not in named]
    with torch.no_grad():
        conv.weight[others], conv.bias[others] = 0, -1
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": _authors_names(model.state_dict())}, path)


def _authors_names(state):
    """The weights by the names that ViTPose's own repository gives them."""
    out = {}
    for key, value in state.items():
        if ".attention.attention.query." in key:
            parts = [state[key.replace("query", part)] for part in ("query", "key", "value")]
            value = torch.cat(parts)
            key = key.replace("attention.attention.query", "attn.qkv")
        elif ".attention.attention." in key:
            continue
        for theirs, ours in (
            ("backbone.pos_embed", "backbone.embeddings.position_embeddings"),
            ("backbone.patch_embed.proj", "backbone.embeddings.patch_embeddings.projection"),
            ("backbone.blocks", "backbone.encoder.layer"),
            ("attn.proj", "attention.output.dense"),
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("last_norm", "layernorm"),
            ("keypoint_head.final_layer", "head.conv"),
        ):
            key = key.replace(ours, theirs)
        out[key] = value
    return out


def _peaks(cells, sigma=2.0):
    """Heatmaps (n, 64, 48) with a Gaussian at each point; cells: (n, 2)."""
    y, x = np.mgrid[:64, :48]
    distance = (x - cells[:, :1, None]) ** 2 + (y - cells[:, 1:, None]) ** 2
    return np.exp(-distance / (2 * sigma**2))


def _features(model, pixels, tracked):
    """Feature maps (B, C, H, W) as the mask decoder gets them in a picture of its own, or in one
    that follows others."""
    out = model.get_image_features(pixels, return_dict=True)
    maps = list(out.fpn_hidden_states)
    if tracked:
        maps[-1] = model.memory_attention.layer_norm(maps[-1] + 0.1 * out.fpn_position_encoding[-1])
    else:
        maps[-1] = maps[-1] + model.no_memory_embedding
    return [
        item.permute(1, 2, 0).reshape(len(pixels), -1, *size)
        for item, size in zip(maps, model.backbone_feature_sizes, strict=True)
    ]
