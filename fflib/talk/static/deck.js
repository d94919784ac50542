// The deck: starts reveal, and tells the demos when their slide comes and goes. Key R sets a demo back.
(function () {
  "use strict";
  const asked = new URLSearchParams(location.search);
  const printed = asked.has("print-pdf");
  // The notes window shows the deck twice more, in frames: there the demos stand still.
  const isMirror = asked.has("receiver") || window.parent !== window;
  TALK.photograph = asked.has("photograph");

  const demoOf = (slide) => (slide ? slide.querySelector(".demo") : null);
  const tell = (what, element) => {
    if (element && !isMirror && window.Demos) Demos[what](element);
  };

  Reveal.initialize({
    width: 1280, height: 720, margin: 0, minScale: 0.1, maxScale: 4, center: false, hash: true, controls: false,
    transition: "none", backgroundTransition: "none", progress: !TALK.photograph, pdfSeparateFragments: false,
    totalTime: TALK.minutes * 60, plugins: [RevealNotes],
    keyboard: { 82: () => tell("reset", demoOf(Reveal.getCurrentSlide())) },
  }).then(() => {
    if (printed) document.querySelectorAll(".demo").forEach((element) => tell("enter", element));
    else tell("enter", demoOf(Reveal.getCurrentSlide()));
    window.TALK.ready = true;
  });
  Reveal.on("slidechanged", (event) => {
    tell("leave", demoOf(event.previousSlide));
    tell("enter", demoOf(event.currentSlide));
  });
})();
