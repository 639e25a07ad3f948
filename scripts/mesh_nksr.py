"""Make the ground of a scene from its depth maps: a surface, and a watertight collision mesh.

Points of the depth maps near people, away from edges, become a surface by NKSR (or by the embedded
Poisson reconstruction where its package is not installed); holes are filled and the surface is
made again. Below it lies the collision mesh; boxes below people who sit and below feet on steps
are those of method poisson.
"""

from pantograph import cli
from pantograph.contracts import Contacts, Gravity, Mesh, People, Scene, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--scene", required=True, help="scene.h5")
    parser.add_argument("--gravity", required=True, help="gravity.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--out", required=True, help="mesh.h5 to write")
    parser.add_argument("--obj", required=True, help="the same mesh as OBJ, z up, metres")
    parser.add_argument("--ply", required=True, help="the surface to look at, z up, metres")
    parser.add_argument("--weights", default="", help="NKSR's weights, ks.pth")
    parser.add_argument(
        "--method",
        choices=("nksr", "ndc", "poisson"),
        default="nksr",
        help="how the surface is made; ndc is no longer to be had",
    )
    parser.add_argument(
        "--gradient-thr",
        type=float,
        default=100.0,
        help="largest change of depth over the viewing angle, m/rad; smaller removes more",
    )
    parser.add_argument("--conf-thr", type=float, default=0.0, help="least confidence, 0 to 1")
    parser.add_argument(
        "--no-spf",
        action="store_true",
        help="points of the whole scene, not only of people's surroundings",
    )
    parser.add_argument(
        "--grow-px",
        type=float,
        default=10.0,
        help="growth of people's masks, px of a picture of 512 px: where points begin with "
        "--no-spf, end without",
    )
    parser.add_argument(
        "--inner-px", type=float, default=5.0, help="the same where points begin without --no-spf"
    )
    parser.add_argument(
        "--scale-bbox3d",
        type=float,
        default=1.2,
        help="box that points lie in, over that of people's joints; 4 to 8 m",
    )
    parser.add_argument("--reach", type=float, default=8.0, help="points' distance from paths, m")
    parser.add_argument(
        "--voxel", type=float, default=0.1, help="cube that points are thinned in, m"
    )
    parser.add_argument("--voxel-points", type=int, default=5, help="fewest points of a cube")
    parser.add_argument("--detail-level", type=float, default=0.1, help="NKSR's, 0 to 1")
    parser.add_argument("--cell", type=float, default=0.05, help="grid of the ground, m")
    parser.add_argument("--snap", type=float, default=0.05, help="heights that are the floor's, m")
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument("--device", default="", help="cuda or cpu; empty: cuda where there is one")
    args = parser.parse_args(argv)
    names = ("gradient_thr", "conf_thr", "no_spf", "grow_px", "inner_px", "scale_bbox3d", "reach")
    names += ("voxel", "voxel_points", "detail_level", "cell", "snap")
    parameters = {name: getattr(args, name) for name in names}
    inputs = [
        Video.read(args.video),
        People.read(args.people),
        Scene.read(args.scene),
        Gravity.read(args.gravity),
        Contacts.read(args.contacts),
    ]
    method = chosen(args.method)
    surfaces = []

    def compute(video, people, scene, gravity, contacts):
        import functools
        import os

        from pantograph import gpu, meshing, surface
        from pantograph.body import load_body_of

        stats = {"surface": method}
        if method != args.method:
            stats["nksr_refused"] = "the package nksr is not installed"
        model = load_body_of(gravity, args.body_model)
        supports = meshing.build(gravity, contacts, model, meshing.motion_fps(contacts))
        make = surface.poisson_surface
        if method == "nksr":
            gpu.check_files(args.weights or "--weights", "the weights of NKSR")
            make = functools.partial(
                surface.nksr_surface,
                weights=os.path.abspath(args.weights),
                device=args.device,
                detail=args.detail_level,
            )
        if scene.depth is None:
            cloud = surface.seen_points(gravity, args.reach)
            stats["points_of"] = "scene"
        else:
            rules = surface.Filter(
                gradient=args.gradient_thr,
                confidence=args.conf_thr,
                ring=not args.no_spf,
                grow_px=args.grow_px,
                inner_px=args.inner_px,
                box_factor=args.scale_bbox3d,
                reach=args.reach,
            )
            cloud, counted = surface.collect(video, people, scene, gravity, rules)
            stats.update(counted, points_of="depth")
            cloud = surface.thin(cloud, args.voxel, args.voxel_points)
        if len(cloud.points) < surface.FEWEST:
            stats["surface"] = "none"
            supports.stats.update(stats, surface_points=len(cloud.points))
            return supports
        vertices, faces, counted = surface.reconstruct(cloud, gravity, make, args.cell, args.voxel)
        mesh = surface.collision(vertices, faces, gravity, supports, args.cell, args.snap)
        mesh.stats.update(stats, **counted)
        surfaces.append((vertices, faces))
        return mesh

    mesh = cli.stage(
        Mesh, args.out, method=method, inputs=inputs, compute=compute, parameters=parameters
    )
    from pantograph import meshing

    meshing.write_obj(mesh, args.obj, by_box=not surfaces)
    if surfaces:
        from pantograph import surface

        surface.write_ply(*surfaces[0], inputs[3], args.ply)
    else:
        meshing.write_ply(mesh, inputs[3], args.ply)


def chosen(method):
    """The method that is done: poisson where nksr is asked for but not installed."""
    import importlib.util

    from pantograph.errors import PantographError

    if method == "ndc":
        raise PantographError(
            "--method ndc: its code is no longer published; expected nksr or poisson"
        )
    if method == "nksr" and importlib.util.find_spec("nksr") is None:
        return "poisson"
    return method


if __name__ == "__main__":
    cli.run(main)
