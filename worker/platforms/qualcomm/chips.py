"""The compiler's numbers of the chips of `shared.platforms.qualcomm_chips`.

`soc_model`: `Qnn_SocModel_t` in QnnTypes.h of the QAIRT SDK (up to 88), and the SoC table that Qualcomm maintains in
ExecuTorch's QNN backend (93 to 97). `htp_arch`: as the compiler of onnxruntime-qnn 2.7.0 writes it into the context
binary, whatever it is told; it agrees with ExecuTorch's table.
"""

CHIPS = {  # part number: (soc_model, htp_arch)
    "SM6450": (50, 73), "SM6475": (76, 73), "SM6650": (74, 73),
    "SM7325": (35, 68), "SM7435": (61, 73), "SM7450": (41, 69), "SM7475": (54, 69), "SM7550": (64, 73),
    "SM7635": (73, 73), "SM7675": (70, 73), "SM7750": (86, 73),
    "SM8350": (30, 68), "SM8450": (36, 69), "SM8475": (42, 69), "SM8550": (43, 73), "SM8635": (68, 73),
    "SM8650": (57, 75), "SM8735": (85, 73), "SM8750": (69, 79), "SM8845": (97, 81), "SM8850": (87, 81),
    "SC8280XP": (37, 68), "SC8380XP": (60, 73), "SC8480XP": (88, 81),
    "SAR2230P": (95, 81), "SSG2115P": (46, 73), "SSG2125P": (58, 73), "SW6100": (96, 81), "SXR1230P": (45, 73),
    "SXR2230P": (53, 69), "SXR2330P": (75, 79),
    "QCM6490": (93, 68), "QCS8300": (82, 75), "QCS8550": (66, 73), "QCS9100": (77, 73),
    "SA8255": (52, 73), "SA8295": (39, 68), "SA8540": (62, 68), "SA8620P": (67, 75), "SA8797": (72, 81),
}
