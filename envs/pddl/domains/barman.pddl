; A barman with two hands fills shots with ingredients, or mixes two of them to a cocktail.
(define (domain barman)
  (:requirements :strips :typing :equality :negative-preconditions)
  (:types
    hand level dispenser container beverage - object
    shot shaker - container
    ingredient cocktail - beverage)
  (:predicates
    (ontable ?c - container)
    (holding ?h - hand ?c - container)
    (handempty ?h - hand)
    (empty ?c - container)
    (contains ?c - container ?b - beverage)
    (clean ?c - container)
    (used ?c - container ?b - beverage)        ; and not cleaned since
    (unshaked ?s - shaker)                     ; it holds what is not mixed yet
    (shaked ?s - shaker)
    (shaker-level ?s - shaker ?l - level)      ; how much is in it
    (shaker-empty-level ?s - shaker ?l - level)
    (next ?l ?higher - level)
    (dispenses ?d - dispenser ?i - ingredient)
    (cocktail-part1 ?c - cocktail ?i - ingredient)
    (cocktail-part2 ?c - cocktail ?i - ingredient))

  (:action grasp
    :parameters (?h - hand ?c - container)
    :precondition (and (handempty ?h) (ontable ?c))
    :effect (and (holding ?h ?c) (not (handempty ?h)) (not (ontable ?c))))

  (:action leave
    :parameters (?h - hand ?c - container)
    :precondition (holding ?h ?c)
    :effect (and (handempty ?h) (ontable ?c) (not (holding ?h ?c))))

  ; Two hands are always different ones. The competition's domain need not say so, since there
  ; a hand that holds something is never empty.
  (:action fill-shot
    :parameters (?s - shot ?i - ingredient ?h1 ?h2 - hand ?d - dispenser)
    :precondition (and (not (= ?h1 ?h2)) (holding ?h1 ?s) (handempty ?h2)
                       (dispenses ?d ?i) (empty ?s) (clean ?s))
    :effect (and (contains ?s ?i) (used ?s ?i) (not (empty ?s)) (not (clean ?s))))

  (:action refill-shot
    :parameters (?s - shot ?i - ingredient ?h1 ?h2 - hand ?d - dispenser)
    :precondition (and (not (= ?h1 ?h2)) (holding ?h1 ?s) (handempty ?h2)
                       (dispenses ?d ?i) (empty ?s) (used ?s ?i))
    :effect (and (contains ?s ?i) (not (empty ?s))))

  (:action empty-shot
    :parameters (?h - hand ?s - shot ?b - beverage)
    :precondition (and (holding ?h ?s) (contains ?s ?b))
    :effect (and (empty ?s) (not (contains ?s ?b))))

  (:action clean-shot
    :parameters (?s - shot ?b - beverage ?h1 ?h2 - hand)
    :precondition (and (not (= ?h1 ?h2)) (holding ?h1 ?s) (handempty ?h2)
                       (empty ?s) (used ?s ?b))
    :effect (and (clean ?s) (not (used ?s ?b))))

  (:action pour-shot-to-clean-shaker
    :parameters (?s - shot ?i - ingredient ?d - shaker ?h - hand ?l ?l1 - level)
    :precondition (and (holding ?h ?s) (contains ?s ?i) (empty ?d) (clean ?d)
                       (shaker-level ?d ?l) (next ?l ?l1))
    :effect (and (contains ?d ?i) (unshaked ?d) (shaker-level ?d ?l1) (empty ?s)
                 (not (contains ?s ?i)) (not (empty ?d)) (not (clean ?d))
                 (not (shaker-level ?d ?l))))

  (:action pour-shot-to-used-shaker
    :parameters (?s - shot ?i - ingredient ?d - shaker ?h - hand ?l ?l1 - level)
    :precondition (and (holding ?h ?s) (contains ?s ?i) (unshaked ?d)
                       (shaker-level ?d ?l) (next ?l ?l1))
    :effect (and (contains ?d ?i) (shaker-level ?d ?l1) (empty ?s)
                 (not (contains ?s ?i)) (not (shaker-level ?d ?l))))

  (:action empty-shaker
    :parameters (?h - hand ?s - shaker ?b - cocktail ?l ?l1 - level)
    :precondition (and (holding ?h ?s) (contains ?s ?b) (shaked ?s)
                       (shaker-level ?s ?l) (shaker-empty-level ?s ?l1))
    :effect (and (empty ?s) (shaker-level ?s ?l1)
                 (not (shaked ?s)) (not (contains ?s ?b)) (not (shaker-level ?s ?l))))

  (:action clean-shaker
    :parameters (?h1 ?h2 - hand ?s - shaker)
    :precondition (and (not (= ?h1 ?h2)) (holding ?h1 ?s) (handempty ?h2) (empty ?s))
    :effect (clean ?s))

  (:action shake
    :parameters (?b - cocktail ?d1 ?d2 - ingredient ?s - shaker ?h1 ?h2 - hand)
    :precondition (and (not (= ?h1 ?h2)) (holding ?h1 ?s) (handempty ?h2)
                       (cocktail-part1 ?b ?d1) (cocktail-part2 ?b ?d2)
                       (contains ?s ?d1) (contains ?s ?d2) (unshaked ?s))
    :effect (and (shaked ?s) (contains ?s ?b)
                 (not (unshaked ?s)) (not (contains ?s ?d1)) (not (contains ?s ?d2))))

  (:action pour-shaker-to-shot
    :parameters (?b - beverage ?d - shot ?h - hand ?s - shaker ?l ?l1 - level)
    :precondition (and (holding ?h ?s) (shaked ?s) (contains ?s ?b) (empty ?d) (clean ?d)
                       (shaker-level ?s ?l) (next ?l1 ?l))
    :effect (and (contains ?d ?b) (shaker-level ?s ?l1)
                 (not (empty ?d)) (not (clean ?d)) (not (shaker-level ?s ?l)))))
