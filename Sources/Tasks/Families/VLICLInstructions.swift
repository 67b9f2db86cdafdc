extension VLICLBench {
    /// The instruction of a task, nil for none (ys-zong/VL-ICL, `utils/ICL_utils.py`, spelling and all). The benchmark has
    /// none for `fast_count_t2i` and `fast_attr_t2i`.
    static func text(_ instruction: Instruction, of task: String) -> String? {
        switch instruction {
        case .none: nil
        case .concise: concise[task]
        case .detailed: detailed[task]
        }
    }

    private static let concise = [
        "open_mi": "Answer the question with a single word or phase.",
        "operator_induction": "Induce the mathematical operator and calculate the result.",
        "operator_induction_interleaved":
            "Induce the mathematical operator between the two images and calculate the result.",
        "clevr": "Find objects of the given type, induce what operation to use and calculate the result.",
        "textocr": "Answer with the text inside the red box.",
        "matching_mi": "Determine the output for the new pair of images.",
        "open_t2i_mi": "Generate the image of the given class.",
        "cobsat":
            "Generate the next image based on the latent object or attribute from the few-shot examples.",
    ]

    private static let detailed = [
        "open_mi":
            "Induce the concept from the in-context examples. Answer the question with a single word or phase.",
        "operator_induction":
            "The image contains two digit numbers and a ? representing the mathematical operator. Induce the "
            + "mathematical operator (addition, multiplication, minus) according to the results of the in-context "
            + "examples and calculate the result.",
        "operator_induction_interleaved":
            "There are two input images, each representing a single digit number. Induce the mathematical operator "
            + "(addition, multiplication, minus) that is applied between the two images according to the results of "
            + "the in-context examples. Calculate the result for the new query images.",
        "clevr":
            "The image contains objects of different shapes, colors, sizes and materials. The question describes the "
            + "attribute and its value. You need to find all objects within the image that satisfy the condition. You "
            + "should induce what operation to use according to the results of the in-context examples and then "
            + "calculate the result.",
        "textocr":
            "An image will be provided where a red box is drawn around the text of interest. Answer with the text "
            + "inside the red box. Ensure that the transcription is precise, reflecting the exact characters, "
            + "including letters, numbers, symbols.",
        "matching_mi":
            "According to the few-shot examples, induce what operation to do and determine the output for the two "
            + "new images. Answer with \"yes\" or \"no\".",
        "open_t2i_mi":
            "Based on the few-shot examples, induce the concept and generate the image of the given class.",
        "cobsat":
            "Based on the sequence, infer the latent object or attribute. Generate the image of the inferred object or "
            + "attribute combined with the given text.",
    ]
}
